"""The store in one SQLite file: the file's settings, and the epoch of each start.

What belongs here: what only SQLite needs. What does not: statements and questions (`statements`, `reading`,
`writing`), other databases.

WAL with `synchronous=FULL` loses no acknowledged commit when power fails; `NORMAL` does.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from surveil.core.model import VERDICTS
from surveil.disk import sync_folder
from surveil.errors import InvalidError
from surveil.places import Hold
from surveil.store import Cluster, FullError, StoreError, migrations, wal
from surveil.store.failures import cause_of, disk_failures
from surveil.store.reading import UNREADABLE, SqlReader
from surveil.store.tables import builds, cluster, jobs
from surveil.store.writing import SqlStore

FILE: Final = "surveil.db"
READERS_MAX: Final = 8
"""Connections for reading at one time; more questions than this wait."""
READER_WAIT_S: Final = 30
BUSY_MS: Final = 10_000
"""How long a statement waits for another process, for example for the end of a checkpoint."""
WAL_BYTES_MAX: Final = 64 * 1024 * 1024
CHECKPOINT_PAGES: Final = 4096
"""Pages of 4 KiB in the log before they are moved into the file: a longer log means fewer moves of pages that change
often."""
CACHE_KIB: Final = 32 * 1024
ATTEMPTS_SKIPPED: Final = 1000
"""Open jobs of a restored backup go on so many attempts later, for the same reason: a number is handed out once."""
BUILDS_SKIPPED: Final = 1_000_000
"""A restored backup goes on so many builds later: runners may hold results of builds made since the backup, whose
numbers must not come again for other commits."""


def open_store(data: Path, *, now: int, database: str = "") -> SqlStore:
    """Open the data folder for writing, making or updating what is in it. The epoch is higher afterwards, durably.

    Args:
        data: the dispatcher's data folder; made where it is missing.
        now: milliseconds since 1970.
        database: the URL of a database elsewhere than in the folder, `sqlite:///PATH`.

    Raises:
        InvalidError: the database is of a newer version or another program, or `database` is of an unknown kind.
        InfrastructureError: the folder cannot be used, or another process uses it.
        StoreError: the disk does not do its part.
    """
    path = database_path(data, database)
    hold = Hold(data, "a dispatcher")
    engine = _engine(path, poolclass=StaticPool, begin=_WRITE, pragmas=_WRITER_PRAGMAS)
    with ExitStack() as undo:
        undo.callback(hold.release)
        undo.callback(engine.dispose)
        with disk_failures(f"make the database {path}"):
            # SQLite would make it readable for all; the files beside it get the permissions that it has.
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _check_log(path)
        held = _take_over(engine, path, now)
        with disk_failures(f"make the names in {path.parent} durable"):
            sync_folder(path.parent)
        undo.pop_all()
    return SqlStore(engine, begin=_WRITE, held=held, reader=SqlReader(_reading_engine(path)), release=hold.release)


def open_reader(data: Path, *, database: str = "") -> SqlReader:
    """Open the data folder for reading only, whether or not a dispatcher runs on it.

    Raises:
        InvalidError: there is no database, or it is of another version or another program.
        StoreError: it cannot be read.
    """
    path = database_path(data, database)
    if not path.exists():
        raise InvalidError(f"there is no database at {path}: name the dispatcher's data folder with --data")
    engine = _reading_engine(path)
    try:
        with engine.begin() as connection:
            present = migrations.check(connection, where=f"the database {path}")
        if present != migrations.head():
            raise InvalidError(f"the database {path} is of an older version: start the dispatcher once to update it")
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unreadable(path, error) from error
    except InvalidError:
        engine.dispose()
        raise
    return SqlReader(engine)


def database_path(data: Path, database: str) -> Path:
    """The file that a database URL means; without one, the data folder's own.

    Raises:
        InvalidError: the URL is not of SQLite.
    """
    if not database:
        return data / FILE
    if database.startswith("sqlite:///") and len(database) > len("sqlite:///"):
        return Path(database.removeprefix("sqlite:///"))
    kind = database.partition(":")[0]
    raise InvalidError(
        f"the database is to be of kind `{kind}`, and this version of surveil keeps its data in SQLite only: "
        "leave out --database, or give it as sqlite:///PATH"
    )


# ---- connections


_WRITER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)
_WRITE: Final = "BEGIN IMMEDIATE"
"""Nobody else writes from here to the commit, so that what was read is still so."""
_READER_PRAGMAS: Final = (f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA query_only = ON")


def _reading_engine(path: Path) -> Engine:
    return _engine(
        path,
        mode="ro",
        poolclass=QueuePool,
        pool={"pool_size": READERS_MAX, "max_overflow": 0, "pool_timeout": READER_WAIT_S},
        begin="BEGIN",
        pragmas=_READER_PRAGMAS,
    )


def _engine(
    path: Path,
    *,
    mode: str = "rwc",
    poolclass: type[Any],
    pool: dict[str, Any] | None = None,
    begin: str,
    pragmas: tuple[str, ...],
) -> Engine:
    """Connect to a file. Transactions begin when we say so and in the way that we say, not when the driver thinks
    fit.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        for pragma in pragmas:
            connection.execute(pragma)
        return connection

    engine = create_engine("sqlite:///", creator=connect, poolclass=poolclass, **(pool or {}))

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        cursor = connection.connection.cursor()
        cursor.execute(begin)
        cursor.close()

    return engine


def _check_log(path: Path) -> None:
    with disk_failures(f"read the database's log {path}{wal.SUFFIX}"):
        if wal.is_damaged(path):
            raise StoreError(f"{wal.complaint(path)}: put back a copy that `surveil db backup` made")


def _take_over(engine: Engine, path: Path, now: int) -> Cluster:
    """Bring the tables up to date and raise the epoch, in one transaction."""
    try:
        with engine.begin() as connection:
            migrations.bring_up_to_date(connection, where=f"the database {path}")
            held = _next_epoch(connection, now)
        # A log that is lost must not take an epoch along that runners have heard of.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    except (SQLAlchemyError, sqlite3.Error, *UNREADABLE) as error:
        raise _unreadable(path, error) from error
    return held


def _next_epoch(connection: Connection, now: int) -> Cluster:
    row = connection.execute(select(cluster)).first()
    if row is None:
        made = Cluster(id=uuid.uuid4().hex, epoch=1)
        connection.execute(insert(cluster).values(one=1, id=made.id, epoch=1, first_build=1))
        return made
    epoch, first_build = row.epoch + 1, row.first_build
    if row.copied_at is not None:
        # The original went on after this copy was made, by epochs and builds that we cannot know.
        newest = connection.execute(select(func.max(builds.c.id))).scalar() or 0
        epoch, first_build = max(epoch, now // 1000), max(newest + 1, first_build) + BUILDS_SKIPPED
        later = update(jobs).values(attempt=jobs.c.attempt + ATTEMPTS_SKIPPED)
        connection.execute(later.where(jobs.c.state.not_in(sorted(VERDICTS))))
    connection.execute(update(cluster).values(epoch=epoch, first_build=first_build, copied_at=None))
    return Cluster(id=row.id, epoch=epoch)


def _unreadable(path: Path, error: Exception) -> StoreError | InvalidError:
    if "not a database" in str(error):
        return InvalidError(f"the file {path} is not a database: choose another data folder with --data")
    if "disk is full" in str(error):
        return FullError(
            f"the database {path} cannot be opened, because the disk is full: make room (`df -h {path.parent}`), "
            "or choose another data folder with --data"
        )
    return StoreError(
        f"the database {path} cannot be opened ({cause_of(error)}): put back a copy that `surveil db backup` made, "
        "or choose another data folder with --data"
    )
