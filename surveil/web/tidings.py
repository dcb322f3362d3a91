"""Logs as they come, by rows, for everybody who follows them.

What belongs here: what a reader is told next, found and written once for all who are at the same place, and how often.
What does not: the form of events (`surveil.web.events`), where rows begin (`surveil.store.log_rows`).

A reader is a place, and nothing else is kept for him: what comes after a place is the same for everybody there, so a
thousand who follow one log are one question to the dispatcher, one look at the file and one text. Whoever is slow is
at a place of his own and holds one event. The more there are, the rarer and larger the events become, so that all of
them together take a bounded share of this process.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from surveil.client import Answered
from surveil.client.following import WAIT_MS
from surveil.frozen import dataclass, replace
from surveil.store.log_rows import Row, split
from surveil.web.events import Event, Written
from surveil.web.lines import LogLines, row_view
from surveil.web.remembered import Remembered

BYTES_MAX: Final = 32 * 1024
"""So much of a log is told at once: what a reader who does not read holds of this process's memory."""
ROWS_MAX: Final = 1000
READER_S: Final = 0.0002
"""About four times as long as telling one reader takes: all of them together take a quarter of a processor."""
LOG_S: Final = 0.002
"""So that those who follow many different logs ask the dispatcher some hundred questions a second and not more."""
LEAST_S: Final = 0.02
LATE_MS: Final = 1_000
"""How often is looked for the rest of an earlier attempt's log: nothing tells of it."""
ALIGNED_S: Final = 1.0
"""How long it is remembered in which row a place is: all who lost the same connection come back there."""
TOLD_MAX: Final = 16
"""So many events are kept for those who come to the same place a little later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a reader is. Byte `at` of an attempt's log begins the row that comes next; of an open row `held` was told
    already. `steps` is what was told of them. `behind` are places in earlier attempts' logs of which more may come.
    """

    attempt: int
    at: int = 0
    held: bytes = b""
    begins: bool = True
    steps: str = ""
    at_end: bool = False
    behind: tuple[Place, ...] = ()

    @property
    def read(self) -> int:
        """The first byte that was not told."""
        return self.at + len(self.held)

    @property
    def id(self) -> str:
        """What a reader shows who comes again."""
        return f"{max(self.attempt, 1)}.{self.at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What comes after a place, and the place after it. `over` is a job of which nothing more comes, `done` the
    attempt.
    """

    events: tuple[Written, ...]
    place: Place
    done: bool = False
    over: bool = False


class Logs(Protocol):
    """Where logs are read."""

    async def log(self, about: Mapping[str, Any], *, steps: str) -> Answered:
        """A piece of a log; with `wait_ms` once there is more of it, or its steps (as JSON) stand otherwise."""
        ...


class Tidings:
    """What those who follow logs are told."""

    def __init__(self, books: Logs, lines: LogLines) -> None:
        self._books = books
        self._lines = lines
        self._readers: Counter[str] = Counter()
        self._coming: dict[tuple[str, Place], asyncio.Task[Told]] = {}
        self._told: OrderedDict[tuple[str, Place], Told] = OrderedDict()
        self._aligning = Remembered()

    async def follow(self, job: str, place: Place, *, only: bool) -> AsyncGenerator[Written]:
        """The rows of a job's log from `place` on, over all attempts that follow unless `only` this one is wanted."""
        with self._reading(job):
            behind = [await self._aligned(job, each) for each in place.behind]
            place = replace(await self._aligned(job, place), behind=tuple(behind))
            while True:
                told = await self._after(job, place)
                for event in told.events:
                    yield event
                place = told.place
                if told.done and (only or told.over):
                    yield Event(kind="end", id=place.id, body={}).written()
                    return
                if told.done:
                    place = Place(attempt=place.attempt + 1, behind=place.behind)

    @contextmanager
    def _reading(self, job: str) -> Iterator[None]:
        self._readers[job] += 1
        try:
            yield
        finally:
            self._readers[job] -= 1
            if not self._readers[job]:
                del self._readers[job]

    async def _aligned(self, job: str, place: Place) -> Place:
        """The beginning of the row in which this place is: found once for all who come back to it at one time."""
        if not place.at:
            return place
        aligned: Place = await self._aligning.get((job, place), lambda: self._align(job, place), fresh_s=ALIGNED_S)
        return aligned

    async def _align(self, job: str, place: Place) -> Place:
        # The row before it says more: of one that comes next there may be nothing yet.
        rows = (await self._lines.log(job, place.attempt).rows_from(place.at - 1, 1)).rows
        if not rows:
            return place
        row = rows[0]
        if row.end > place.at or row.open:
            return replace(place, at=row.at, begins=row.begins)
        return replace(place, at=row.end, begins=row.data.endswith(b"\n"))

    async def _after(self, job: str, place: Place) -> Told:
        """What comes after a place: found once for all who ask meanwhile, or a little later."""
        key = (job, place)
        if (told := self._told.get(key)) is not None:
            return told
        task = self._coming.get(key)
        if task is None:
            task = self._coming[key] = asyncio.create_task(self._find(job, place))
            task.add_done_callback(lambda done: self._found(key, done))
        # Whoever goes away takes nothing from the others.
        return await asyncio.shield(task)

    def _found(self, key: tuple[str, Place], task: asyncio.Task[Told]) -> None:
        del self._coming[key]
        if task.cancelled() or task.exception() is not None:
            return
        told = task.result()
        # Only of bytes there are never fewer: how steps stand, and whether more attempts come, may be as it once was,
        # and what was told then would lead round in a ring.
        if told.place.read > key[1].read and not told.done:
            self._told[key] = told
            if len(self._told) > TOLD_MAX:
                self._told.popitem(last=False)

    @property
    def pause_s(self) -> float:
        """How long those who have seen all there was are left alone."""
        return max(LEAST_S, READER_S * self._readers.total(), LOG_S * len(self._readers))

    async def _find(self, job: str, place: Place) -> Told:
        if place.at_end:
            await asyncio.sleep(self.pause_s)
        about = {"job": job, "at": place.read, "limit": BYTES_MAX, "wait_ms": LATE_MS if place.behind else WAIT_MS}
        if place.attempt:
            about["attempt"] = place.attempt
        got = await self._books.log(about, steps=place.steps)
        body = got.body
        late, behind = await self._late(job, place)
        place = replace(place, attempt=body["attempt"], behind=behind)
        rows, after = _rows_after(place, got.data)
        if body["damaged"] and not got.data:
            after = replace(after, at=body["next"], held=b"", begins=True)
        after = replace(after, steps=json.dumps(body["steps"]), at_end=body["end"] <= after.read)
        done = body["complete"] and after.at_end
        missing = body["missing"] if after.at_end else None
        lacks = bool(done and missing)
        if not body["exists"] or not (got.data or body["damaged"] or lacks or after.steps != place.steps):
            return Told(events=late, place=replace(place, at_end=True), done=done, over=body["settled"])
        event = _event(body, rows, place.at, after, missing).written()
        if lacks:
            after = replace(after, behind=(*behind, replace(after, behind=())))
        return Told(events=(*late, event), place=after, done=done, over=body["settled"])

    async def _late(self, job: str, place: Place) -> tuple[tuple[Written, ...], tuple[Place, ...]]:
        """What came by now of attempts before this one, as a runner that comes back brings what it kept; and where
        the readers of those are.
        """
        events: list[Written] = []
        behind: list[Place] = []
        for earlier in place.behind:
            about = {"job": job, "attempt": earlier.attempt, "at": earlier.read, "limit": BYTES_MAX}
            got = await self._books.log(about, steps=earlier.steps)
            rows, after = _rows_after(earlier, got.data)
            missing = got.body["missing"]
            if got.data or not missing:
                event = _event(got.body, rows, earlier.at, after, missing)
                events.append(replace(event, id=place.id).written())
            if missing or after.read < got.body["end"]:
                behind.append(after)
        return tuple(events), tuple(behind)


def _rows_after(place: Place, data: bytes) -> tuple[tuple[Row, ...], Place]:
    """The rows that these bytes complete or begin, and where the one begins that is still open."""
    rows = tuple(split(place.held + data, place.at, begins=place.begins))
    if not rows:
        return rows, place
    last = rows[min(len(rows), ROWS_MAX) - 1]
    if last.open:
        after = replace(place, at=last.at, held=last.data, begins=last.begins)
    else:
        after = replace(place, at=last.end, held=b"", begins=last.data.endswith(b"\n"))
    return rows[:ROWS_MAX], after


def _event(body: Mapping[str, Any], rows: tuple[Row, ...], at: int, after: Place, missing: str | None) -> Event:
    told = {
        "attempt": body["attempt"], "runner": body["runner"] or "", "steps": body["steps"], "missing": missing,
        "rows": [row_view(row) for row in rows], "at": at, "next": after.at, "damaged": body["damaged"],
    }  # fmt: skip
    return Event(kind="rows", id=after.id, body=told)
