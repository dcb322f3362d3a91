"""Logs by rows and by line numbers, for everybody who looks.

What belongs here: which index serves which log, and keeping whoever counts or searches a gigabyte out of the way of
those who only look. What does not: rows and counting themselves (`surveil.store.log_rows`), which attempts there are
(`surveil.answer.logbook`).

What is looked at is read at once, wherever it stands. Its line numbers take having counted from the beginning, which
is done once, piece by piece, and remembered in a few kilobytes; until then a row is known by its first byte.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from surveil.store.log_live import LogSlice
from surveil.store.log_rows import LineIndex, Page, Read, Row, rows_before, rows_from
from surveil.store.log_search import Found, Wanted, search

INDEXES_MAX: Final = 256
"""So many logs keep their numbers: 8 MiB, if each has a gigabyte."""
SCANS_MAX: Final = 2
"""Threads that count or search at one time; more would keep those who only look waiting."""
COUNT_BYTES: Final = 16 * 1024 * 1024
"""So much is counted before another one gets his turn."""

BytesOf = Callable[[str, int, int, int], LogSlice]


class Log:
    """One log; its methods answer at once, or say that they do not know yet."""

    def __init__(self, read: Read, scans: asyncio.Semaphore) -> None:
        self._read = read
        self._scans = scans
        self._index = LineIndex()
        self._counting: asyncio.Task[None] | None = None

    async def rows_from(self, at: int, limit: int) -> Page:
        """Rows from the one with byte `at` on."""
        return await asyncio.to_thread(rows_from, self._read, at, limit)

    async def rows_before(self, before: int | None, limit: int) -> Page:
        """Rows before byte `before`, or the last ones."""
        return await asyncio.to_thread(rows_before, self._read, before, limit)

    async def number_of(self, at: int) -> int | None:
        """The number of the line with byte `at`, if it is known."""
        before = await asyncio.to_thread(self._index.lines_before, self._read, at)
        return None if before is None else before + 1

    async def start_of(self, line: int) -> int | None:
        """The first byte of a line, if there is one of this number and it is known."""
        return await asyncio.to_thread(self._index.start_of, self._read, line)

    async def counted(self) -> None:
        """Wait until all lines that there are now have their numbers."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
        # Whoever goes away takes nothing from the others.
        await asyncio.shield(self._counting)

    async def search(self, wanted: Wanted, at: int, limit: int) -> Found:
        """Rows from byte `at` on that hold what is wanted."""
        async with self._scans:
            return await asyncio.to_thread(search, self._read, wanted, at, limit)

    async def _count(self) -> None:
        while True:
            async with self._scans:
                if await asyncio.to_thread(self._index.extend, self._read, COUNT_BYTES):
                    return


class LogLines:
    """The logs that somebody looked at lately."""

    def __init__(self, bytes_of: BytesOf) -> None:
        self._bytes_of = bytes_of
        self._scans = asyncio.Semaphore(SCANS_MAX)
        self._logs: OrderedDict[tuple[str, int], Log] = OrderedDict()

    def log(self, job: str, attempt: int) -> Log:
        """The log of an attempt that there is."""
        key = (job, attempt)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = Log(partial(self._bytes_of, job, attempt), self._scans)
            if len(self._logs) > INDEXES_MAX:
                self._logs.popitem(last=False)
        self._logs.move_to_end(key)
        return log


def row_view(row: Row) -> dict[str, Any]:
    """A row as a document."""
    return {"at": row.at, "end": row.end, "text": row.text, "begins": row.begins, "open": row.open}
