"""What a target has to do: to make drafts of what happened, and to tell one of them.

What belongs here: the promise. What does not: any target, nor what is told next (`core.outbox`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from surveil.core.outbox import Draft, Outcome, Parcel
from surveil.store import JournalLine


class Target(Protocol):
    """Whoever is told. Names are unique among targets: what was told is remembered by them."""

    @property
    def name(self) -> str:
        """What people call it, in the file of rules and in lists."""
        ...

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """What it is to be told of these lines of the journal; called by a thread, and may read the store.

        Lines may come again, so that equal ones must make equal drafts.

        Raises:
            StoreError: the store cannot be read now.
        """
        ...

    async def tell(self, parcel: Parcel) -> Outcome:
        """Tell it this, once; it may have been told before. Whatever goes wrong outside is an outcome."""
        ...
