"""How fast surveil is, each figure beside its limit or its peer, measured in the same run.

What belongs here: programs that print figures for people (`python -m benchmarks.NAME`, or all of them with
`python -m benchmarks`). What does not: tests, since no test is timed.

The machines are shared and noisy: ratios of one run mean something, absolute figures of different days do not.
"""
