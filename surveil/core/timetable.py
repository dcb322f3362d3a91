"""What is built by the clock: the schedules of a repository's main branch, with the commit that they build.

What belongs here: what follows for a timetable from a commit, and the fact that a schedule makes. What does not: when a
schedule comes (`surveil.pipeline.cron`), and waiting for it (`hands.scheduling`).

A time that came is a fact with a name, `schedule:REPO:CRON ZONE:TIME`, and is built once like any other, whoever says
it and however often. So nothing has to be remembered of what came already: after a restart the last time of each
schedule is said again, which makes exactly one build of all that were missed, and none where nothing was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from surveil.core.triggers import Schedule
from surveil.frozen import dataclass, replace
from surveil.protocol import CommitSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A schedule, and since when there is one: what would have come before that was never asked for."""

    cron: str
    timezone: str
    since_at: int


Entries: TypeAlias = tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The schedules of a repository, and the newest commit of its main branch as its observer reported it."""

    repo: str
    commit: CommitSeen
    entries: Entries


def following(
    known: Timetable | None, commit: CommitSeen, schedules: Sequence[Schedule] | None, now: int
) -> Timetable | None:
    """The timetable after a commit of the main branch; None where it has no schedules.

    `schedules` are those of its pipeline file, None where that is broken: then the ones before it stay, and their
    builds say what is wrong. One that was there already stays as it was: a push neither brings it nor puts it off.
    """
    before = {(entry.cron, entry.timezone): entry for entry in (known.entries if known is not None else ())}
    entries: Entries
    if schedules is None:
        entries = tuple(before.values())
    else:
        entries = tuple(
            before.get((each.cron, each.timezone), Entry(cron=each.cron, timezone=each.timezone, since_at=now))
            for each in dict.fromkeys(schedules)
        )
    return Timetable(repo=commit.repo, commit=commit, entries=entries) if entries else None


def is_owed(entry: Entry, came_at: int) -> bool:
    """Whether a time of this schedule is one that was asked for."""
    return came_at > entry.since_at


def fact_of(table: Timetable, entry: Entry, came_at: int) -> CommitSeen:
    """What is to be built because this schedule came."""
    mid = f"schedule:{table.repo}:{entry.cron} {entry.timezone}:{came_at}"
    return replace(table.commit, mid=mid, event="schedule", paths=None, inputs=None)
