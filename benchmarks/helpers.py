"""The processes of a benchmark's own: those that play peers, or hold the other end of a line.

What belongs here: how they are started. What does not: what they do.
"""

from __future__ import annotations

import multiprocessing
from typing import Final

HELPERS: Final = multiprocessing.get_context("forkserver")
"""Each is forked from a process that has loaded what all of them need, and does nothing else: to load it anew in each
takes longer than most of what small benchmarks measure.
"""
HELPERS.set_forkserver_preload(["benchmarks.noop", "benchmarks.past"])
