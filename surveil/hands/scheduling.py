"""Waits for schedules, and has built what they ask for.

What belongs here: the timetables in memory, the wait for the next time, and the order of writing and saying. What does
not: what a timetable is (`core.timetable`), when a schedule comes (`surveil.pipeline.cron`), and builds (submitting).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from surveil.core.timetable import Entry, Timetable, fact_of, following, is_owed
from surveil.core.triggers import Schedule
from surveil.protocol import CommitSeen
from surveil.say import Voice

LOOK_MS: Final = 60_000
"""The clock is looked at so often at least: somebody may set it."""
AGAIN_MS: Final = 5_000
"""Where too many commits wait to be read, or nobody watches the repository, it is tried again after this."""

CAME: Final = "its schedule came"
"""Who wants such a build, for the journal."""

Submit: TypeAlias = Callable[[CommitSeen], bool]
"""Has a commit built; False where it was not taken, because too many wait."""
Due: TypeAlias = "tuple[str, str, str]"
"""A schedule: its repository, expression and zone."""

voice = Voice("dispatcher")


class Scheduler:
    """The timetables of one dispatcher.

    `write` makes a repository's timetable durable, or takes it away. `is_watched` says whether an observer looks at a
    repository now: one that nobody watches any more is not built for ever, and while its observer is away, its newest
    commits are not known.
    """

    def __init__(
        self,
        tables: Iterable[Timetable],
        *,
        write: Callable[[str, Timetable | None], Awaitable[None]],
        is_watched: Callable[[str], bool],
        now: Callable[[], int],
    ) -> None:
        self._tables = {table.repo: table for table in tables}
        self._write = write
        self._is_watched = is_watched
        self._now = now
        self._said: dict[Due, int] = {}
        """The last time of each schedule that was said since this process began."""
        self._quiet_until: dict[Due, int] = {}
        """Until when nothing of each schedule is to be said."""
        self._next: dict[Due, int | None] = {}
        self._stirred = asyncio.Event()

    async def learn(self, commit: CommitSeen, schedules: tuple[Schedule, ...] | None) -> None:
        """Take in a commit of a main branch; what follows is on disk when this returns. See `core.timetable`."""
        known = self._tables.get(commit.repo)
        table = following(known, commit, schedules, self._now())
        if table == known:
            return
        await self._write(commit.repo, table)
        if table is None:
            del self._tables[commit.repo]
        else:
            self._tables[commit.repo] = table
        self.stir()

    def stir(self) -> None:
        """Something changed: look again at what is due."""
        self._stirred.set()

    async def run(self, submit: Submit) -> None:
        """Have built what is due, until cancelled."""
        while True:
            self._stirred.clear()
            wait_ms = self.look(submit)
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._stirred.wait()
            except TimeoutError:
                continue

    def look(self, submit: Submit) -> int:
        """Say what came, and return how many milliseconds it is until the next look."""
        now = self._now()
        looks = [self._look_at(table, entry, now, submit) for table in self._tables.values() for entry in table.entries]
        return max(1, min([now + LOOK_MS, *looks]) - now)

    def upcoming(self) -> list[tuple[str, str, str, int | None]]:
        """Every schedule with its next time: repository, expression, zone."""
        return [
            (table.repo, entry.cron, entry.timezone, self._next.get((table.repo, entry.cron, entry.timezone)))
            for table in self._tables.values()
            for entry in table.entries
        ]

    def _look_at(self, table: Timetable, entry: Entry, now: int, submit: Submit) -> int:
        """Say the last time of a schedule, unless it was said already; when to look at it again."""
        from surveil.pipeline.cron import last_at, next_at  # noqa: PLC0415  # few installations have a schedule

        key = (table.repo, entry.cron, entry.timezone)
        quiet_until = self._quiet_until.get(key)
        if quiet_until is not None and now < quiet_until:
            return quiet_until
        came_at = last_at(entry.cron, entry.timezone, now)
        self._next[key] = upcoming = next_at(entry.cron, entry.timezone, now)
        if came_at is not None and is_owed(entry, came_at) and self._said.get(key, -1) < came_at:
            if not self._is_watched(table.repo) or not submit(fact_of(table, entry, came_at)):
                return now + AGAIN_MS
            self._said[key] = came_at
            voice.info("schedule came", repo=table.repo, cron=entry.cron, timezone=entry.timezone)
        self._quiet_until[key] = now + LOOK_MS if upcoming is None else upcoming
        return self._quiet_until[key]
