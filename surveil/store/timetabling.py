"""Timetables as rows.

What belongs here: the columns, rows and back. What does not: statements, and what a timetable means
(`surveil.core.timetable`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from surveil.core.timetable import Entry, Timetable
from surveil.protocol import CommitSeen, pack_part, unpack_part
from surveil.store.sums import Guard, Row, summed
from surveil.store.tables import timetables

TIMETABLE_COLUMNS: Final = tuple(timetables.c.keys())
TIMETABLES: Final = Guard(timetables, "the timetable of {repo}", TIMETABLE_COLUMNS[:-1])


def timetable_row(table: Timetable) -> Row:
    """All of a timetable."""
    entries = [[entry.cron, entry.timezone, entry.since_at] for entry in table.entries]
    return summed((table.repo, json.dumps({"commit": pack_part(table.commit), "entries": entries}, ensure_ascii=False)))


def timetable_of(row: Sequence[Any]) -> Timetable:
    """Read a timetable.

    Raises:
        ProtocolError: it was not written by this version of surveil.
    """
    TIMETABLES.check(row)
    body = json.loads(row[1])
    entries = tuple(Entry(cron=cron, timezone=zone, since_at=since_at) for cron, zone, since_at in body["entries"])
    return Timetable(repo=row[0], commit=unpack_part(CommitSeen, body["commit"]), entries=entries)
