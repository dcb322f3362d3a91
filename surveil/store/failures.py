"""The disk's failures as the store says them, in a sentence.

What belongs here: the sentences. What does not: how files are written (`surveil.disk`), and any file's form.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from surveil.disk import is_out_of_room
from surveil.store import FullError, StoreError

CAUSE_CHARS_MAX: Final = 200
"""SQLite quotes what it cannot read up to its end, which in a damaged schema is the rest of a table."""


def cause_of(error: Exception) -> str:
    """Why the database refused, in one short line: SQLAlchemy's own text goes on with the statement and an address."""
    cause = " ".join(str(error.__cause__ or error).split())
    return cause if len(cause) <= CAUSE_CHARS_MAX else cause[: CAUSE_CHARS_MAX - 1] + "…"


def is_full(error: Exception) -> bool:
    """Whether the database refused because its disk has no room, which is the one failure that passes by itself."""
    causes = (error, error.__cause__)
    return any(getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL for cause in causes)


@contextmanager
def disk_failures(doing: str) -> Iterator[None]:
    """Say what could not be done where the disk fails.

    Raises:
        FullError: instead of an `OSError` that says so.
        StoreError: instead of any other one.
    """
    try:
        yield
    except OSError as error:
        kind = FullError if is_out_of_room(error) else StoreError
        raise kind(
            f"could not {doing} ({error.strerror or error}): look at the disk's free space, health and permissions"
        ) from error
