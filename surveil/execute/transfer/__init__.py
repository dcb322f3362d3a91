"""Files on their way between this runner and its dispatcher, piece by piece, however often the connection breaks.

What belongs here: what is said when, and when to give up. What does not: what is brought or fetched, and why.
"""
