"""Sign-in at providers of identities, over OpenID Connect: people come in by what they use elsewhere.

What belongs here: the file that names providers, the conversation with one, and what its proofs are worth. What does
not: the pages of it (`surveil.web.pages.arriving`), who is known (`surveil.store.people`), and sessions
(`surveil.web.visitors`).
"""
