"""Deadlines by key, cheap to move: a renewal is one dictionary write, because a heap entry that turns out early
is simply put back.

What belongs here: what is due next. What does not: what a deadline means (leases, schedule).
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

Key = TypeVar("Key", tuple[str, int], str)


class Deadlines(Generic[Key]):
    """When each key is due, in milliseconds.

    Keys of one instant come out in their own order, so that a replay is exact.
    """

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._at

    def __iter__(self) -> Iterator[Key]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: Key, at: int) -> None:
        """Make `key` due at `at`, sooner or later than before."""
        before = self._at.get(key)
        self._at[key] = at
        if before is None or at < before:
            heappush(self._heap, (at, key))

    def get(self, key: Key) -> int | None:
        """When `key` is due, None where it has no deadline."""
        return self._at.get(key)

    def discard(self, key: Key) -> None:
        """Forget `key`; its heap entry is dropped when it surfaces."""
        self._at.pop(key, None)

    def next(self) -> int | None:
        """The earliest deadline."""
        while self._heap:
            at, key = self._heap[0]
            current = self._at.get(key)
            if current == at:
                return at
            heappop(self._heap)
            if current is not None and current > at:
                heappush(self._heap, (current, key))
        return None

    def take_due(self, now: int) -> list[Key]:
        """Remove and return the keys that are due, earliest first."""
        due: list[Key] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, key = heappop(heap)
            current = self._at.get(key)
            if current == at:
                del self._at[key]
                due.append(key)
            elif current is not None and current > at:
                heappush(heap, (current, key))
        return due

    def pop_due(self, now: int) -> Key | None:
        """Remove and return the earliest key that is due, or None; for work on one that may settle others."""
        if not self._heap or self._heap[0][0] > now:
            return None  # No key is due before its first entry.
        at = self.next()
        if at is None or at > now:
            return None
        _, key = heappop(self._heap)
        del self._at[key]
        return key

    def shift(self, by_ms: int) -> None:
        """Move every deadline by the same time."""
        self._at = {key: at + by_ms for key, at in self._at.items()}
        self._heap = sorted((at, key) for key, at in self._at.items())
