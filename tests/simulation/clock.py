"""The invented world's time: one queue of happenings in true time, and the clocks of hosts, which all run a
little wrong.

What belongs here: the order in which things happen. What does not: what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

MILLION = 1_000_000


class Timer:
    """Something that will happen, unless it is cancelled before."""

    __slots__ = ("action", "args", "at")

    def __init__(self, at: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at = at
        self.action: Callable[..., None] | None = action
        self.args = args

    def cancel(self) -> None:
        self.action = None


class Schedule:
    """Happenings in the order of true time, in milliseconds from the world's beginning; of one instant, in
    the order of asking.
    """

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def at(self, when: int, action: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(max(when, self.now), action, args)
        self._count += 1
        heappush(self._heap, (timer.at, self._count, timer))
        return timer

    def after(self, delay_ms: int, action: Callable[..., None], *args: Any) -> Timer:
        return self.at(self.now + delay_ms, action, *args)

    def run(self, until: int) -> int:
        """Let everything up to `until` happen; return how much did."""
        heap, happened = self._heap, 0
        while heap and heap[0][0] <= until:
            at, _, timer = heappop(heap)
            self.now = at
            if timer.action is not None:
                happened += 1
                timer.action(*timer.args)
        self.now = until
        return happened


class HostClock:
    """What one machine takes for the time: it starts anywhere and gains or loses up to some percent."""

    __slots__ = ("_base", "_rate", "_since")

    def __init__(self, base: int, rate_ppm: int) -> None:
        self._base = base
        self._rate = MILLION + rate_ppm
        self._since = 0

    def read(self, true: int) -> int:
        return self._base + (true - self._since) * self._rate // MILLION

    def when(self, local: int) -> int:
        """Return the first true time at which the clock reads at least `local`."""
        return self._since + -((self._base - local) * MILLION // self._rate)
