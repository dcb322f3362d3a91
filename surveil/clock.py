"""The one clock of a process, as the minds want it: milliseconds since 1970 that never step back and ignore
changes of the wall clock; and the machine's own, on which processes of one machine agree.

What belongs here: reading clocks. What does not: deciding by them. Imports only what a keeper may import.
"""

from __future__ import annotations

import time


class Clock:
    """The wall clock as it was at the start, plus the time that has passed since; time asleep counts.

    `not_before_at` is an instant that was already written down, in milliseconds since 1970: a machine that lost its
    clock and starts in 1970 goes on from there, so that what is written stays in order.
    """

    def __init__(self, not_before_at: int = 0) -> None:
        self._started_at = max(time.time_ns() // 1_000_000, not_before_at)
        self._boot_ms = boot_ms()

    def now(self) -> int:
        """The present instant in milliseconds since 1970."""
        return self._started_at + boot_ms() - self._boot_ms


def boot_ms() -> int:
    """Milliseconds since the machine started, suspended time included; the same in every process of the machine."""
    return time.clock_gettime_ns(_STEADY) // 1_000_000


# Linux counts suspended time in BOOTTIME only; elsewhere MONOTONIC is the nearest there is.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
