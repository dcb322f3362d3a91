"""Which isolation the attempts of this machine have: what a sandbox shows them, and where their limits can be set.

What belongs here: choosing it, and trying it before any attempt relies on it. What does not: the keeper, which builds
it around its steps (`keeper.enclosure`, `keeper.confines`), and containers.
"""
