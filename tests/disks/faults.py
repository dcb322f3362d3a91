"""Calls that a disk refuses: the N-th of a kind, all of a kind, or everything after the power went.

What belongs here: counting calls, and the error number of each. What does not: what an error leaves behind (`model`).
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final

FREE_BLOCKS: Final = 1 << 19
FREE_INODES: Final = 1 << 19
KINDS: Final = ("make", "write", "sync", "rename", "read")
"""Names given to new files and folders; bytes; what makes these durable; names changed; and reading back."""


@dataclass(slots=True)
class Fault:
    """Calls of these kinds, at files whose path fits, from the `at`-th on (from 1), `count` of them, fail."""

    kinds: tuple[str, ...]
    number: int
    path: str = ""
    at: int = 1
    count: int = 1_000_000_000
    done: bool = False
    """Whether a sync that fails was done all the same: only its answer is lost."""
    met: int = 0

    def meets(self, kind: str, path: str) -> bool:
        """Whether this call fails."""
        if kind not in self.kinds or (self.path and re.search(self.path, path) is None):
            return False
        self.met += 1
        return self.at <= self.met < self.at + self.count


class Faults:
    """The one fault that a disk has at a time, if any."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.off = False
        """The power is off: nothing works any more."""

    @property
    def wants_names(self) -> bool:
        """Whether somebody must look up what a call is about."""
        return self.fault is not None and self.fault.path != ""

    def meet(self, kind: str, path: str) -> int:
        """The error number with which this call fails, 0 where it does not."""
        if self.off:
            return errno.EIO
        return self.fault.number if self.fault is not None and self.fault.meets(kind, path) else 0

    def room(self) -> tuple[int, int]:
        """Blocks and inodes that are free, as `df` shows them."""
        # A fault of some files alone is no full disk, but a quota for example.
        if self.fault is None or self.fault.path or self.fault.number != errno.ENOSPC:
            return FREE_BLOCKS, FREE_INODES
        return (0 if "write" in self.fault.kinds else FREE_BLOCKS), (0 if "make" in self.fault.kinds else FREE_INODES)
