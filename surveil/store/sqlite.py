"""The store in one SQLite file: the file's settings, and the epoch of each start.

What belongs here: what only SQLite needs. What does not: statements and questions (`statements`, `reading`,
`writing`), other databases.

WAL with `synchronous=FULL` loses no acknowledged commit when power fails; `NORMAL` does.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from surveil.core.model import VERDICTS
from surveil.disk import sync_folder
from surveil.errors import InvalidError
from surveil.places import Hold
from surveil.say import Voice
from surveil.store import Cluster, FullError, StoreError, codec, migrations, wal
from surveil.store.failures import cause_of, disk_failures
from surveil.store.reading import SqlReader
from surveil.store.rows import UNREADABLE
from surveil.store.tables import builds, cluster, jobs
from surveil.store.writing import SqlStore

voice = Voice("store")

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
CHECK_S_MAX: Final = 10.0
"""A start looks at the database's pages for so long, which is enough for those of a million builds."""
INTERRUPT_S: Final = 0.05
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
        _check_pages(engine, path)
        held, copied_at = _take_over(engine, path, now)
        with disk_failures(f"make the names in {path.parent} durable"):
            sync_folder(path.parent)
        reader = SqlReader(_reading_engine(path))
        undo.callback(reader.close)
        store = SqlStore(engine, begin=_WRITE, held=held, reader=reader, release=hold.release, copied_at=copied_at)
        undo.pop_all()
    return store


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
    is_same = _held_to_one_file(engine, path)
    try:
        with engine.begin() as connection:
            present = migrations.check(connection, where=f"the database {path}")
        if present != migrations.head():
            raise InvalidError(f"the database {path} is of an older version: start the dispatcher once to update it")
    except (SQLAlchemyError, *UNREADABLE) as error:
        engine.dispose()
        raise _unreadable(path, error) from error
    except InvalidError:
        engine.dispose()
        raise
    return SqlReader(engine, is_same)


def beside(path: Path) -> tuple[Engine, Engine]:
    """How a small file beside the database is written, and how it is read, by any number of threads and processes.

    It is no part of what a dispatcher promises, and has a transaction of its own for each change.
    """
    pool = {"pool_size": READERS_MAX, "max_overflow": 0, "pool_timeout": READER_WAIT_S}
    writing = _engine(path, poolclass=QueuePool, pool=pool, begin=_WRITE, pragmas=_WRITER_PRAGMAS)
    return writing, _engine(path, poolclass=QueuePool, pool=pool, begin="BEGIN", pragmas=_READER_PRAGMAS)


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


def _held_to_one_file(engine: Engine, path: Path) -> Callable[[], bool]:
    """Have nothing read any more once another file, such as a restored copy, is in the place of the one that was
    opened: connections to both would be used in turn, and what is remembered of the one is not so in the other. What is
    returned says whether it is still the same.
    """
    opened: list[tuple[int, int] | None] = []

    def is_same() -> bool:
        there = _identity(path)
        if not opened:
            opened.append(there)
        return there == opened[0]

    @event.listens_for(engine, "checkout")
    def _check(*_: object) -> None:
        if not is_same():
            raise StoreError(f"another file is in the place of the database {path}, or none: start this process again")

    @event.listens_for(engine, "engine_disposed")
    def _forget(*_: object) -> None:
        opened.clear()

    is_same()
    return is_same


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there under this name; None where there is none that can be looked at."""
    try:
        found = os.stat(path)  # noqa: PTH116  # For each look at the database: a path's own method takes twice as long.
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _check_pages(engine: Engine, path: Path) -> None:
    """See whether trees and indexes are whole: what is missing in them has no checksum that could be missed."""
    try:
        found = _integrity(engine, "integrity_check")
    except (SQLAlchemyError, sqlite3.Error, *UNREADABLE) as error:
        raise _unreadable(path, error) from error
    if found is None:
        voice.warning("the database is too large for a look at all of it: run `surveil db check`", database=path)
    elif found != "ok":
        raise _unreadable(path, StoreError(f"it was damaged on disk: {' '.join(found.split())}"))


def quick_check(engine: Engine) -> str | None:
    """`ok`, or what is wrong with the pages of a small file beside the database; None where that took too long."""
    return _integrity(engine, "quick_check")


def _integrity(engine: Engine, check: Literal["integrity_check", "quick_check"]) -> str | None:
    """What SQLite says of its pages, None where it did not come to an end in time."""
    with closing(engine.raw_connection()) as connection:
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection), "the driver is SQLite's own"
        done = Event()
        watch = Thread(target=_interrupt_late, args=(driver, done))
        watch.start()
        try:
            return str(driver.execute(f"PRAGMA {check}(1)").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
        finally:
            done.set()
            watch.join()


def _interrupt_late(driver: sqlite3.Connection, done: Event) -> None:
    """Interrupt what takes longer than `CHECK_S_MAX`, again and again: a word before it has begun is lost."""
    patience_s = CHECK_S_MAX
    while not done.wait(patience_s):
        driver.interrupt()
        patience_s = INTERRUPT_S


def _take_over(engine: Engine, path: Path, now: int) -> tuple[Cluster, int | None]:
    """Bring the tables up to date and raise the epoch, in one transaction; also when a backup wrote this copy, if it is
    one and this is its first start.
    """
    try:
        with engine.begin() as connection:
            migrations.bring_up_to_date(connection, where=f"the database {path}")
            taken = _next_epoch(connection, now)
        # A log that is lost must not take an epoch along that runners have heard of.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    except (SQLAlchemyError, sqlite3.Error, *UNREADABLE) as error:
        raise _unreadable(path, error) from error
    return taken


def _next_epoch(connection: Connection, now: int) -> tuple[Cluster, int | None]:
    row = connection.execute(select(cluster)).first()
    if row is None:
        made = Cluster(id=uuid.uuid4().hex, epoch=1)
        connection.execute(insert(cluster).values(codec.cluster_row(made, first_build=1)))
        return made, None
    codec.CLUSTER.check(row)
    epoch, first_build = row.epoch + 1, row.first_build
    if row.copied_at is not None:
        # The original went on after this copy was made, by epochs and builds that we cannot know.
        newest = connection.execute(select(func.max(builds.c.id))).scalar() or 0
        epoch, first_build = max(epoch, now // 1000), max(newest + 1, first_build) + BUILDS_SKIPPED
        _skip_attempts(connection)
    held = Cluster(id=row.id, epoch=epoch)
    connection.execute(update(cluster).values(codec.cluster_row(held, first_build=first_build)))
    return held, row.copied_at


def _skip_attempts(connection: Connection) -> None:
    """Let the open jobs of a restored backup go on so many attempts later."""
    opened = connection.execute(select(jobs).where(jobs.c.state.not_in(sorted(VERDICTS)))).all()
    later = update(jobs).where(jobs.c.build == bindparam("key_build"), jobs.c.name == bindparam("key_name"))
    rows = [codec.job_skipped(row, ATTEMPTS_SKIPPED) for row in opened]
    if rows:
        connection.execute(later.values(attempt=bindparam("attempt"), row_sum=bindparam("row_sum")), rows)


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
