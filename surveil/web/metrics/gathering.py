"""How things stand at this moment, asked of whoever knows: the store, the dispatcher, the outbox, the disk.

What belongs here: asking, once for all who collect at the same time. What does not: names and text (`exposing`).

Each part may be away by itself; then its numbers are left out, and one says so.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from surveil.errors import SurveilError
from surveil.frozen import dataclass
from surveil.store import Counts, Reader, StoreError
from surveil.store.outbox import FILE as OUTBOX
from surveil.store.outbox import Following, Outbox
from surveil.web.books import Books
from surveil.web.metrics.counting import JournalSums, WebSums
from surveil.web.remembered import Remembered

FRESH_S: Final = 1.0
"""Whoever collects is answered from what was asked so shortly before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the dispatcher says: its status, and its runners by state."""

    status: Mapping[str, Any]
    runners: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What is still to be told to others: each target, how much waits for it and since when, and the journal's end."""

    followings: Sequence[Following]
    waiting: Mapping[str, tuple[int, int]]
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All of it; None where somebody is away. Instants are milliseconds since 1970."""

    at: int
    counts: Counts | None
    queued_since: int | None
    told: Told | None
    owed: Owed | None
    disk: tuple[int, int] | None
    """How many bytes are free on the disk of the data folder, and how many it has."""


class Gatherer:
    """Asks for one installation. `now` is the present instant in milliseconds since 1970."""

    def __init__(self, books: Books, reader: Reader, data: Path, now: Callable[[], int]) -> None:
        self._books = books
        self._reader = reader
        self._data = data
        self._now = now
        self._remembered = Remembered()
        self._outbox: Outbox | None = None
        self.journal = JournalSums(reader)
        self.web = WebSums()

    def close(self) -> None:
        """Let go of the outbox."""
        if self._outbox is not None:
            self._outbox.close()

    async def gathered(self) -> Gathered:
        """How things stand, and meanwhile the sums of the journal are brought up to now."""
        found: Gathered = await self._remembered.get((), self._gather, fresh_s=FRESH_S)
        return found

    async def _gather(self) -> Gathered:
        counts, since = await self._stored()
        return Gathered(
            at=self._now(), counts=counts, queued_since=since, told=await self._told(),
            owed=await asyncio.to_thread(self._owed), disk=await asyncio.to_thread(self._disk),
        )  # fmt: skip

    async def _stored(self) -> tuple[Counts | None, int | None]:
        try:
            await self.journal.read_on()
            counts = await asyncio.to_thread(self._reader.counts)
            return counts, await asyncio.to_thread(self._reader.queued_since)
        except StoreError:
            return None, None

    async def _told(self) -> Told | None:
        try:
            status = (await self._books.ask("status")).body
            runners = Counter(str(runner["state"]) for runner in await self._books.listed("runners"))
        except SurveilError:
            return None
        return Told(status=status, runners=runners)

    def _owed(self) -> Owed | None:
        """None where nobody is told anything, too."""
        try:
            if self._outbox is None:
                if not (self._data / OUTBOX).exists():
                    return None
                self._outbox = Outbox(self._data)
            followings, waiting = self._outbox.followings(), self._outbox.waiting()
            return Owed(followings=followings, waiting=waiting, newest=self._reader.journal_end())
        except SurveilError:
            return None

    def _disk(self) -> tuple[int, int] | None:
        try:
            found = shutil.disk_usage(self._data)
        except OSError:
            return None
        return found.free, found.total
