"""What has happened lately, in numbers: for whoever watches over an installation.

What belongs here: counting lines of the journal between two looks, and since when something waits. What does not: what
counts stand for and how they are shown (`surveil.web.metrics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Text, and_, cast, func, literal, select, text

from surveil.core.model import VERDICTS, Status
from surveil.frozen import dataclass
from surveil.store.rows import within
from surveil.store.tables import OPEN_BUILD, builds, jobs, notes

LINES_AT_ONCE: Final = 20_000
"""So many lines are counted in one look, which is over in a moment."""
QUEUED_LOOKED_AT: Final = 500
"""Of so many queued jobs, those of the oldest builds, it is looked since when each waits."""

_VERDICTS: Final = tuple(verdict.value for verdict in sorted(VERDICTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Lines of the journal up to `position` in numbers: by what they are about and its state; and of each build that
    got its verdict which one, and after how many milliseconds.
    """

    position: int
    lines: Mapping[tuple[str, str], int]
    took: tuple[tuple[str, int], ...]


def happened(connection: Connection, after: int) -> Happened:
    """What the lines after a position say, of `LINES_AT_ONCE` at most."""
    newest = connection.execute(select(func.max(notes.c.position))).scalar() or 0
    until = max(after, min(newest, after + LINES_AT_ONCE))
    among = and_(notes.c.position > after, notes.c.position <= until)
    counted = select(notes.c.what, notes.c.state, func.count()).where(among).group_by(notes.c.what, notes.c.state)
    verdicts = and_(among, notes.c.what == "build", notes.c.state.in_(_VERDICTS))
    took = select(notes.c.state, notes.c.at - builds.c.created_at).where(verdicts, builds.c.id == notes.c.build)
    return Happened(
        position=until,
        lines={(row[0], row[1]): row[2] for row in connection.execute(counted)},
        took=tuple((row[0], max(0, row[1])) for row in connection.execute(took.order_by(notes.c.position))),
    )


def queued_since(connection: Connection) -> int | None:
    """Since when the job has waited that has done so for longest, in milliseconds since 1970."""
    # Only the change to waiting has a line: what could run from its beginning waits since it was made.
    line = and_(notes.c.build == jobs.c.build, notes.c.what == "job", notes.c.state == Status.QUEUED.value)
    named = cast(jobs.c.build, Text).concat(literal("/")).concat(jobs.c.name)
    again = select(func.max(notes.c.at)).where(line, notes.c.id == named).scalar_subquery()
    waiting = select(func.coalesce(again, jobs.c.created_at).label("since"))
    waiting = waiting.where(jobs.c.state == Status.QUEUED.value, within(jobs, text(OPEN_BUILD)))
    first = waiting.order_by(jobs.c.build).limit(QUEUED_LOOKED_AT).subquery()
    since: int | None = connection.execute(select(func.min(first.c.since))).scalar()
    return since
