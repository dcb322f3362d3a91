"""What a benchmark prints, and the small arithmetic behind it.

What belongs here: tables, percentiles, the use of processor and memory. What does not: anything that is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import psutil

MIB: Final = 1024 * 1024
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a benchmark: what was measured, what it came to, and what it is held against.

    `ratio` is the figure in terms of its limit; above 1 is better than the limit where `more_is_better`.
    """

    what: str
    value: str
    limit: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        parts = [f"{self.what}: {self.value}"]
        if self.limit:
            parts.append(f"limit: {self.limit}")
        if self.ratio is not None:
            parts.append(f"ratio {self.ratio:.3g}")
        if self.target:
            verdict = "" if self.met is None else ", met" if self.met else ", not met"
            parts.append(f"target: {self.target}{verdict}")
        return " | ".join(parts)


def say(line: str) -> None:
    """Print a line at once, also where nobody looks through a terminal."""
    print(line, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of all values does not exceed; the largest for a share of 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], unit: str = "ms") -> str:
    """Median, 99th percentile and worst, in words."""
    median, high = statistics.median(values), percentile(values, 0.99)
    return f"p50 {median:.2f} {unit}, p99 {high:.2f} {unit}, worst {max(values):.2f} {unit} of {len(values)}"


def in_turns(one: Callable[[], Found], other: Callable[[], Found], *, pairs: int) -> tuple[list[Found], list[Found]]:
    """What both give, so many times each. They take turns in who begins: a machine that others use as well gets slower
    or faster for seconds at a time, and whoever always came second would have more or less of that.
    """
    found: tuple[list[Found], list[Found]] = ([], [])
    for number in range(pairs):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            found[which].append((one, other)[which]())
    return found


class Usage:
    """How much processor a process takes between two looks, all its threads; `with_children` those children as well
    that it has waited for.
    """

    def __init__(self, pid: int, *, with_children: bool = False) -> None:
        self._process = psutil.Process(pid)
        self._with_children = with_children
        self.again()

    def again(self) -> Self:
        """Begin anew."""
        self._wall_s, self._cpu_s = time.monotonic(), self._total_s()
        return self

    def cpu_s(self) -> float:
        """Seconds of processor time since the beginning."""
        return self._total_s() - self._cpu_s

    def share(self) -> float:
        """Which part of one core it took since the beginning."""
        return self.cpu_s() / max(1e-9, time.monotonic() - self._wall_s)

    def rss_mib(self) -> float:
        """Resident memory now, in MiB."""
        rss: int = self._process.memory_info().rss
        return rss / MIB

    def pss_mib(self) -> float:
        """Resident memory now with shared pages counted in parts, in MiB."""
        pss: int = self._process.memory_full_info().pss
        return pss / MIB

    def _total_s(self) -> float:
        times = self._process.cpu_times()
        children = times.children_user + times.children_system if self._with_children else 0.0
        return float(times.user + times.system + children)
