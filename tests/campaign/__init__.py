"""The campaign: a cluster of real processes under real faults, and everything that must hold meanwhile and afterwards.

`docs/reliability.md` says what it promises and how to run and replay it; `faults` says how a fault is added.
"""
