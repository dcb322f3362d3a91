"""Whether a data folder is whole: the database's pages and rows, the facts in it, the pages of the files beside it, and
every byte of every log.

What belongs here: looking, on a folder that may be in use. What does not: mending; a damaged folder is restored from
a backup.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final
from zlib import crc32

from sqlalchemy import Connection, select, text

from surveil.core.model import AttemptState, Status
from surveil.frozen import dataclass
from surveil.places import LOGS
from surveil.store import cases, codec, shards, spec_codec, wal
from surveil.store.failures import disk_failures
from surveil.store.log_live import DATA, LiveReader
from surveil.store.log_packed import SUFFIX, PackedError, PackedReader
from surveil.store.log_paths import log_files
from surveil.store.neighbours import damaged
from surveil.store.reading import SqlReader
from surveil.store.rows import all_rows, reading
from surveil.store.sqlite import database_path, open_reader
from surveil.store.tables import specs
from surveil.store.timetabling import TIMETABLES

PROBLEMS_MAX: Final = 100
"""More sentences than this help nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at, and a sentence for each thing that is not as it must be, at most `PROBLEMS_MAX`."""

    problems: tuple[str, ...]
    builds: int
    jobs: int
    attempts: int
    logs: int
    log_bytes: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(data: Path, *, database: str = "") -> Report:
    """Look at everything in a dispatcher's data folder, whether or not one runs on it.

    Raises:
        InvalidError: there is no database of this version of surveil in it.
        StoreError: the database or a log cannot be read at all.
    """
    problems: list[str] = []
    with disk_failures(f"read the database's log below {data}"):
        path = database_path(data, database)
        if wal.is_damaged(path):
            problems.append(wal.complaint(path))
    with closing(open_reader(data, database=database)) as reader:
        builds, jobs, attempts = _counted(reader)
        problems += _bounded(chain(_damaged(reader), _facts(reader), damaged(data)))
    logs = log_bytes = 0
    with disk_failures(f"read the logs below {data / LOGS}"):
        for path in log_files(data / LOGS, (SUFFIX, DATA)):
            length, damage = _log(path)
            logs, log_bytes = logs + 1, log_bytes + length
            if damage and len(problems) < PROBLEMS_MAX:
                problems.append(f"the log {path.relative_to(data / LOGS)} {damage}")
    return Report(problems=tuple(problems), builds=builds, jobs=jobs, attempts=attempts, logs=logs, log_bytes=log_bytes)


# ---- the database -------------------------------------------------------------------------------------------

_STATES: Final = frozenset(state.value for state in (*Status, *AttemptState))
"""Each state is bound by its own name."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Rows that must not be, and the sentence that the columns of such a row fill."""

    query: str
    sentence: str


_RULES: Final = (
    _Rule(
        """SELECT build, name, count(*) FROM attempts WHERE state IN (:assigned, :running)
        GROUP BY build, name HAVING count(*) > 1""",
        "job {0}/{1} has {2} open attempts at once",
    ),
    _Rule(
        """SELECT a.build, a.name, a.number, j.state, j.attempt
        FROM attempts a JOIN jobs j ON j.build = a.build AND j.name = a.name
        WHERE a.state IN (:assigned, :running) AND (j.state <> :running OR j.attempt <> a.number)""",
        "attempt {2} at job {0}/{1} is open, while the job is {3} at attempt {4}",
    ),
    _Rule(
        """SELECT j.build, j.name, j.attempt FROM jobs j WHERE j.state = :running AND NOT EXISTS
        (SELECT 1 FROM attempts a WHERE a.build = j.build AND a.name = j.name AND a.number = j.attempt
        AND a.state IN (:assigned, :running))""",
        "job {0}/{1} is running without an open attempt {2}",
    ),
    _Rule(
        """SELECT j.build, j.name, j.attempt FROM jobs j WHERE j.state = :passed AND j.attempt > 0 AND NOT EXISTS
        (SELECT 1 FROM attempts a WHERE a.build = j.build AND a.name = j.name AND a.number = j.attempt
        AND a.state = :passed)""",
        "job {0}/{1} passed, while its attempt {2} did not",
    ),
    _Rule(
        """SELECT j.build, j.name, j.state, b.state FROM builds b JOIN jobs j ON j.build = b.id
        WHERE b.state IN (:passed, :failed, :errored, :cancelled, :skipped)
        AND j.state NOT IN (:passed, :failed, :errored, :cancelled, :skipped)""",
        "job {0}/{1} is {2}, while its build is {3}",
    ),
    _Rule(
        "SELECT build, name FROM jobs WHERE build NOT IN (SELECT id FROM builds)",
        "job {0}/{1} belongs to no build",
    ),
    _Rule(
        "SELECT build, name FROM jobs WHERE spec NOT IN (SELECT digest FROM specs)",
        "job {0}/{1} has lost its spec",
    ),
    _Rule(
        """SELECT a.build, a.name, a.number FROM attempts a WHERE NOT EXISTS
        (SELECT 1 FROM jobs j WHERE j.build = a.build AND j.name = a.name AND j.attempt >= a.number)""",
        "attempt {2} at job {0}/{1} belongs to no job, or has a number that was never given out",
    ),
)


def _counted(reader: SqlReader) -> tuple[int, int, int]:
    def count(connection: Connection, table: str) -> int:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608  # our own

    with reading(reader.engine) as connection:
        return count(connection, "builds"), count(connection, "jobs"), count(connection, "attempts")


def _damaged(reader: SqlReader) -> Iterator[str]:
    """What the database finds wrong with its pages, and then every row that is not as it was written."""
    with reading(reader.engine) as connection:
        for row in connection.exec_driver_sql(f"PRAGMA integrity_check({PROBLEMS_MAX})"):
            if row[0] != "ok":
                yield f"the database is damaged: {row[0]}"
        for guard in (*codec.GUARDS, *cases.GUARDS, *shards.GUARDS, TIMETABLES):
            for values in all_rows(connection, select(guard.table)):
                if not guard.fits(values):
                    yield f"{guard.name(values)} was damaged on disk: its checksum does not fit"
        for digest, body in all_rows(connection, select(specs)):
            if not spec_codec.is_spec(body, digest):
                yield f"the spec {digest.hex()} was damaged on disk: its digest does not fit"


def _facts(reader: SqlReader) -> Iterator[str]:
    with reading(reader.engine) as connection:
        for rule in _RULES:
            bound = {state: state for state in _STATES if f":{state}" in rule.query}
            for row in connection.execute(text(f"{rule.query} LIMIT {PROBLEMS_MAX}"), bound):
                yield rule.sentence.format(*row)


def _bounded(problems: Iterator[str]) -> list[str]:
    return [problem for problem, _ in zip(problems, range(PROBLEMS_MAX), strict=False)]


# ---- the logs -----------------------------------------------------------------------------------------------


def _log(path: Path) -> tuple[int, str]:
    """A log's length, and what is wrong with it, or nothing."""
    try:
        if path.name.endswith(SUFFIX):
            return _packed(path.with_name(path.name.removesuffix(SUFFIX)))
        return _live(path.with_name(path.name.removesuffix(DATA)))
    except FileNotFoundError:
        # Finished, and thereby renamed, between the listing and this look; or its index was not made yet.
        return 0, ""


def _packed(stem: Path) -> tuple[int, str]:
    try:
        with closing(PackedReader(stem)) as log:
            bad = [number for number in range(log.blocks) if not log.block(number)[1]]
            return log.length, f"has {len(bad)} damaged blocks" if bad else ""
    except PackedError as error:
        return 0, f"cannot be read: {error}"


def _live(stem: Path) -> tuple[int, str]:
    with closing(LiveReader(stem)) as log:
        reached, bad = 0, 0
        for chunk in log.slots.from_slot(0):
            if chunk is None or chunk.at != reached or crc32(log.raw(chunk.at, chunk.end)) != chunk.crc:
                bad += 1
            reached = chunk.end if chunk is not None else reached
        return log.length, f"has {bad} damaged chunks" if bad else ""
