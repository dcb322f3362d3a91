"""Allowances: how often somebody may do something, for many who are told apart by a key, in bounded memory.

What belongs here: counting. What does not: who is counted for what, and what they are told (`surveil.web.allowing`).
Pure: the time comes from outside.

An allowance is so many times, and one of them comes back every so often. Of each key only the instant is kept at which
all of its allowance will be there again, so one that is whole needs no memory at all. Where there are too many that are
not, all others share one: a flood of strangers gains nothing by coming under many names, and takes nothing from who was
there before.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

OTHERS: Final = object()
"""The key of those for whom there is no room."""


class Allowances:
    """Allowances of `most` times each, of which one comes back every `each_ms`; at most `keys_max` keys are known."""

    def __init__(self, *, each_ms: int, most: int, keys_max: int) -> None:
        self._each_ms = each_ms
        self._most_ms = each_ms * most
        self._keys_max = keys_max
        self._full_at: dict[Hashable, int] = {}
        self._looked_at = 0

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_ms(self, key: Hashable, now: int) -> int:
        """How long it takes until something of this allowance is there; 0 where it is."""
        return max(0, self._full_at.get(self._own(key, now), now) - now - self._most_ms + self._each_ms)

    def take(self, key: Hashable, now: int) -> int:
        """Use it once, and return 0; where it is used up, how long it takes until it is not."""
        wait_ms = self.wait_ms(key, now)
        if not wait_ms:
            own = self._own(key, now)
            self._full_at[own] = max(now, self._full_at.get(own, now)) + self._each_ms
        return wait_ms

    def _own(self, key: Hashable, now: int) -> Hashable:
        """Under which key this one is counted."""
        if key in self._full_at or len(self._full_at) < self._keys_max:
            return key
        # Not at each stranger: that would make a flood dear.
        if now - self._looked_at >= self._each_ms:
            self._looked_at = now
            self._full_at = {known: at for known, at in self._full_at.items() if at > now}
        return key if len(self._full_at) < self._keys_max else OTHERS
