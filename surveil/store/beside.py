"""A small database of its own beside the dispatcher's: opened or made, read and written by any thread and process.

What belongs here: opening, its version, and its failures in a sentence. What does not: the tables in it, which are its
owner's (`passes`, `hooks`, `outbox`, `acts`).

Beside the database and not in it: the dispatcher is the only one that writes there, and nobody may make it wait.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from surveil.errors import InvalidError
from surveil.store import StoreError
from surveil.store.failures import cause_of, disk_failures, is_full
from surveil.store.sqlite import beside, quick_check

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_VERSION: Final = "PRAGMA data_version"
"""A number that a commit of any other connection changes."""
_LACKING: Final = ("no such table", "no such column")


class DamagedFileError(StoreError):
    """What is in the file is not what was written. `identity` is which file it was that had the name."""

    def __init__(self, sentence: str, path: Path, identity: object) -> None:
        super().__init__(sentence)
        self.path = path
        self.identity = identity


class FileBeside:
    """One such file. Every method raises `StoreError` where the disk does not do its part.

    Somebody may remove the file while processes use it: all of them make and use the next one.
    """

    def __init__(
        self,
        path: Path,
        metadata: MetaData,
        version: int,
        *,
        loss: str,
        changes: Mapping[int, Sequence[str]] | None = None,
        pages: bool = False,
    ) -> None:
        """Open the file, or make it with these tables; `loss` says what removing it costs, and `changes` what leads to
        each version from the one before, tables that it lacks apart. With `pages` it is looked at whole.

        Raises:
            InvalidError: it is of a newer version.
            DamagedFileError: it is not what was written.
            StoreError: it cannot be used.
        """
        self._path = path
        self._metadata = metadata
        self._version = version
        self._loss = loss
        self._changes = changes or {}
        self._opening = Lock()
        self._turn = Lock()
        self._writing, self._reading = beside(path)
        self._watched: sqlite3.Connection | None = None
        self._watches = 0
        self._opened: tuple[int, int] | None = None
        try:
            self._open()
            if pages:
                self.check_pages()
        except BaseException:  # Whatever it is: nobody else could close it.
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        if self._watched is not None:
            self._watched.close()
            self._watched = None
        self._writing.dispose()
        self._reading.dispose()

    def mark(self) -> object:
        """Equal to an earlier one only if nothing was written in between, by any process; None where that cannot be
        known at once. Never waits for anybody, so that a loop may ask.
        """
        if not self._opening.acquire(blocking=False):
            return None
        try:
            if identity_of(self._path) != self._opened:
                return None
            return self._watches, self._watch().execute(_VERSION).fetchone()
        except (StoreError, SQLAlchemyError, sqlite3.Error):
            return None  # Whoever looks into the file itself is told what is wrong.
        finally:
            self._opening.release()

    def _watch(self) -> sqlite3.Connection:
        """A connection that is asked for nothing but whether another one wrote."""
        if self._watched is None:
            connection = self._reading.raw_connection()
            driver = connection.driver_connection
            assert isinstance(driver, sqlite3.Connection), "the driver is SQLite's own"
            connection.detach()
            driver.execute("PRAGMA busy_timeout = 0")
            self._watched = driver
            self._watches += 1
        return self._watched

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """One consistent look."""
        with self._failures():
            self._see_what_is_there()
            with self._reading.begin() as connection:
                yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A change, durable at its end, during which nobody else writes."""
        # SQLite lets threads that wait for each other try again now and then, and gives up on whoever is never lucky.
        with self._turn, self._failures():
            self._see_what_is_there()
            with self._writing.begin() as connection:
                yield connection

    def _see_what_is_there(self) -> None:
        with self._opening:
            if identity_of(self._path) != self._opened:
                self.close()
                self._open()

    def _open(self) -> None:
        _make(self._path)
        # Before anything is read: what is damaged is this one, and not the next one that somebody puts in its place.
        self._opened = identity_of(self._path)
        with self._failures(), self._writing.begin() as connection:
            present = connection.execute(text("PRAGMA user_version")).scalar_one()
            if present > self._version:
                raise InvalidError(
                    f"{self._path} was written by a newer version of surveil: install that version, or remove the file"
                    f"{self._loss}"
                )
            if present < self._version:
                for step in range(present + 1, self._version + 1) if present else ():
                    for statement in self._changes.get(step, ()):
                        connection.execute(text(statement))
                self._metadata.create_all(connection)
                connection.execute(text(f"PRAGMA user_version = {self._version}"))

    def check_pages(self) -> None:
        """See whether its trees and indexes are whole, for at most some seconds.

        Raises:
            DamagedFileError: they are not.
        """
        with self._failures():
            found = quick_check(self._writing)
        if found not in {None, "ok"}:
            raise self._damaged(" ".join(str(found).split()))

    def _damaged(self, cause: str) -> DamagedFileError:
        # What SQLite keeps beside the file would be taken for the copy's, and spoil that as well.
        sentence = (
            f"{self._path} is damaged ({cause}): end what runs on this folder, remove `{self._path.name}` and "
            f"`{self._path.name}-wal`, and put its copy from a backup there; without a copy, only remove the "
            f"file{self._loss}"
        )
        return DamagedFileError(sentence, self._path, self._opened)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            # What begins a transaction is said to the driver itself, whose errors nobody has wrapped.
            cause = cause_of(error)
            if getattr(error.__cause__ or error, "sqlite_errorcode", None) in _DAMAGED or cause.startswith(_LACKING):
                raise self._damaged(cause) from error
            if is_full(error):
                raise StoreError(
                    f"the dispatcher's disk is full, so {self._path} takes nothing new: make room on its disk"
                ) from error
            raise StoreError(
                f"{self._path} cannot be used ({cause}): look at the disk's free space, health and permissions"
            ) from error


def _make(path: Path) -> None:
    """Make the file where there is none, one process at a time. What SQLite keeps beside it is of a file that is gone,
    and none of this one's business.

    One that is there is not opened for that: whoever closes a file lets go of all locks that its process has on it,
    those of SQLite included.
    """
    with disk_failures(f"make {path}"), alone_in(path.parent):
        if not path.exists():
            for name in (f"{path}-wal", f"{path}-shm"):
                Path(name).unlink(missing_ok=True)
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else makes such files in this folder, or takes their names away, until the end of the block."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Which file is there under this name; None where there is none."""
    with disk_failures(f"look at {path}"), suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
