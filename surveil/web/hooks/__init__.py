"""Webhooks: what forges say when something moved, taken for a hint and for nothing more.

What belongs here: the contract of the package. What does not: looking at repositories, which observers do. `secrets`
keeps what proves who says it, `forges` knows how each forge says it, `receiving` decides on one delivery, `retrying`
has something built again where that is wished and allowed, `route` is the way in.

A delivery that proves itself makes the observers of a repository look at it now. No ref, SHA or name is taken from it:
whoever forges one, or knows a secret, gains one look at a repository that is looked at anyway (docs/adr/0041).
"""
