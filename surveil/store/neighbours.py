"""The small files beside the database, in a copy of the data folder: people, webhooks, the outbox, who did what.

What belongs here: copying each as it is at one moment, what a copy leaves out of it, and whether it is damaged. What
does not: their tables, which are their owners' (`passes`, `hooks`, `outbox`, `acts`), and the rest of a copy
(`backup`).

The outbox is copied before the database, so the copy's journal has at least the lines that its outbox has read: what
was told in between is told twice, and nothing is lost. The acts are copied after it, so nothing is done in the copy
without its line there (docs/adr/0056).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from surveil.store import StoreError, acts, hooks, outbox, passes
from surveil.store.acts import Act, Acts
from surveil.store.aside import aside_of

BEFORE: Final = (outbox.FILE, hooks.FILE, passes.FILE)
AFTER: Final = (acts.FILE,)
NEIGHBOURS: Final = (*BEFORE, *AFTER)
_LEFT_OUT: Final = {passes.FILE: passes.NOT_IN_A_COPY}


def copy_moment(source: Path, target: Path) -> None:
    """Copy one moment of a database that others may be writing.

    Raises:
        StoreError: it cannot be read, or not be written.
    """
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(
            f"{source} could not be copied to {target.parent} ({error}): `surveil db check` says whether it is "
            "damaged; otherwise look at the disk's free space"
        ) from error
    target.chmod(0o600)


def copy_neighbours(data: Path, part: Path, names: Sequence[str]) -> int:
    """Copy those of these files that are there; returns how many bytes the copies have. Raises StoreError."""
    copied = 0
    for name in names:
        if not (data / name).exists():
            continue
        copy_moment(data / name, part / name)
        _leave_out(part / name, _LEFT_OUT.get(name))
        copied += (part / name).stat().st_size
    return copied


def note_copy(part: Path, *, now: int) -> None:
    """Have the copy's acts end with the line that it is one: what was done to the original since is not in it.

    Raises:
        StoreError: it cannot be written.
    """
    book = Acts(part)
    try:
        book.write(
            Act(
                at=now, person="", way=acts.ITSELF, what=acts.COPIED, subject="the data folder",
                detail="what was done from here on until the copy was started from stands in the original alone",
            )
        )  # fmt: skip
    finally:
        book.close()


def all_aside(data: Path) -> list[str]:
    """The names under which damaged ones were put aside."""
    return [name for neighbour in NEIGHBOURS for name in aside_of(data / neighbour)]


def lacking(data: Path) -> list[str]:
    """Which of the files are not there."""
    return [name for name in NEIGHBOURS if not (data / name).exists()]


def damaged(data: Path) -> Iterator[str]:
    """A sentence for each of the files that is there and whose pages are not whole."""
    for name in NEIGHBOURS:
        path = data / name
        if path.exists() and (cause := _cause(path)):
            yield f"{name} is damaged: {cause}"


def _cause(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return " ".join(str(error).split())
    return "" if found == "ok" else " ".join(found.split())


def _leave_out(copy: Path, statement: str | None) -> None:
    if statement is None:
        return
    try:
        with closing(sqlite3.connect(copy)) as database, database:
            # One that was made and never filled has no version, and no tables.
            if database.execute("PRAGMA user_version").fetchone()[0]:
                database.execute(statement)
    except sqlite3.Error as error:
        raise StoreError(f"{copy} could not be written ({error}): look at the disk's free space") from error
