"""The reader's half of the store, over any database that SQLAlchemy reaches.

What belongs here: questions. What does not: writing, and how a connection is made.

Every answer is read within one transaction, so it shows one moment. Jobs and attempts are found by their build, never
by a scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from sys import intern
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, Table, bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from surveil.core.model import GIVEN_UP, OPEN, Attempt, AttemptId, Build, Job, Record, Runner, Status
from surveil.core.peers import Peer
from surveil.core.scopes import Secret
from surveil.core.timetable import Timetable
from surveil.errors import ProtocolError
from surveil.protocol import JobSpec
from surveil.store import (
    PAST_BUILDS_MAX,
    ROWS_MAX,
    AttemptTally,
    BuildDetail,
    Cluster,
    Counts,
    JournalLine,
    Sharing,
    StoredCase,
    StoreError,
    Token,
    cases,
    codec,
    shards,
)
from surveil.store.failures import cause_of
from surveil.store.sums import DamagedError
from surveil.store.tables import (
    OPEN_BUILD,
    attempts,
    builds,
    cluster,
    jobs,
    notes,
    peers,
    runners,
    secrets,
    specs,
    timetables,
    tokens,
)
from surveil.store.timetabling import timetable_of

UNREADABLE: Final = (LookupError, TypeError, ValueError, RecursionError)
"""What reading a row raises whose values are of no kind that was ever written, or the driver, whose complaint holds
them: the disk changed it."""
_IDS_MAX: Final = 500
"""Ids in one IN list; SQLite took at most 999 parameters for long, and plans are kept for each length."""
_OF_MID: Final = select(builds.c.id).where(builds.c.mid == bindparam("mid"))


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent look at the database.

    Raises:
        StoreError: it cannot be read, or what it holds cannot be understood.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise _unread(error) from error
    except (ProtocolError, *UNREADABLE) as error:
        raise StoreError(
            f"the database holds something that this version of surveil cannot read ({error}): run `surveil db check`"
        ) from error


class SqlReader:
    """Answers from the tables; see `surveil.store.Reader` for what each question means."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._driver = engine.dialect.loaded_dbapi
        self._of_mid = str(_OF_MID.compile(dialect=engine.dialect))

    def cluster(self) -> Cluster:
        """Which installation this is."""
        with reading(self.engine) as connection:
            row = connection.execute(select(cluster)).one()
        codec.CLUSTER.check(row)
        return Cluster(id=row.id, epoch=row.epoch)

    def builds(
        self, *, repo: str | None = None, ref: str | None = None, limit: int = 20, before: int | None = None
    ) -> list[Build]:
        """The newest builds first."""
        wanted = select(builds).order_by(builds.c.id.desc()).limit(_bounded(limit))
        if repo is not None:
            wanted = wanted.where(builds.c.repo == repo)
        if ref is not None:
            wanted = wanted.where(builds.c.ref == ref)
        if before is not None:
            wanted = wanted.where(builds.c.id < before)
        with reading(self.engine) as connection:
            return _builds(connection, wanted)

    def build(self, build: int) -> BuildDetail | None:
        """One build with everything under it."""
        found = self.details([build])
        return found[0] if found else None

    def details(self, builds: Sequence[int]) -> list[BuildDetail]:
        """Several builds with everything under them."""
        wanted = list(dict.fromkeys(builds))[:ROWS_MAX]
        with reading(self.engine) as connection:
            found = {detail.build.id: detail for part in _parts(wanted) for detail in _details(connection, part)}
        return [found[build] for build in wanted if build in found]

    def build_of_mid(self, mid: str) -> int | None:
        """The build that a fact made.

        Asked for each commit, in the dispatcher's loop: one statement is one moment, and takes a third of the time when
        it goes straight to the driver.
        """
        try:
            with closing(self.engine.raw_connection()) as connection:
                found = connection.cursor().execute(self._of_mid, (mid,)).fetchone()
        except (SQLAlchemyError, self._driver.Error, *UNREADABLE) as error:
            raise _unread(error) from error
        return None if found is None else int(found[0])

    def journal(self, *, after: int = 0, limit: int = 200, build: int | None = None) -> list[JournalLine]:
        """Lines after a position."""
        wanted = select(notes).where(notes.c.position > after).order_by(notes.c.position).limit(_bounded(limit))
        if build is not None:
            wanted = wanted.where(notes.c.build == build)
        with reading(self.engine) as connection:
            return [JournalLine(position=row[0], note=codec.note_of(row)) for row in connection.execute(wanted)]

    def journal_beside(
        self, runners: Sequence[str], *, after: int, before: int | None = None, limit: int = 200
    ) -> list[JournalLine]:
        """Lines about runners and the dispatcher between two positions, found by the index of lines of no build."""
        named = notes.c.id.in_(list(runners)[:ROWS_MAX])
        wanted = select(notes).order_by(notes.c.position).limit(_bounded(limit))
        wanted = wanted.where(notes.c.build.is_(None), notes.c.position > after, (notes.c.what == "dispatcher") | named)
        if before is not None:
            wanted = wanted.where(notes.c.position < before)
        with reading(self.engine) as connection:
            return [JournalLine(position=row[0], note=codec.note_of(row)) for row in connection.execute(wanted)]

    def journal_end(self) -> int:
        """The position of the newest line."""
        with reading(self.engine) as connection:
            return connection.execute(select(func.max(notes.c.position))).scalar() or 0

    def counts(self) -> Counts:
        """How much waits and runs."""
        states = select(jobs.c.state, func.count()).where(_within(jobs, _open_build())).group_by(jobs.c.state)
        pool = select(runners.c.online, func.count(), func.sum(runners.c.slots)).group_by(runners.c.online)
        with reading(self.engine) as connection:
            jobs_in = {row[0]: row[1] for row in connection.execute(states)}
            pools = {bool(row[0]): (row[1], row[2]) for row in connection.execute(pool)}
        online, slots = pools.get(True, (0, 0))
        return Counts(
            blocked=jobs_in.get(Status.BLOCKED, 0),
            held=jobs_in.get(Status.HELD, 0),
            queued=jobs_in.get(Status.QUEUED, 0),
            running=jobs_in.get(Status.RUNNING, 0),
            online=online,
            offline=pools.get(False, (0, 0))[0],
            slots=int(slots),
            busy=jobs_in.get(Status.RUNNING, 0),
        )

    def runners(self) -> list[Runner]:
        """Every runner, by name."""
        with reading(self.engine) as connection:
            return _all(connection, select(runners).order_by(runners.c.name, runners.c.id), codec.runner_of)

    def owner(self, job: str, attempt: int) -> str | None:
        """Whose attempt this is."""
        found = self.attempt(job, attempt)
        return None if found is None else found.runner

    def attempt(self, job: str, number: int) -> Attempt | None:
        """One attempt."""
        build, name = codec.split_job(job)
        wanted = select(attempts).where(attempts.c.build == build, attempts.c.name == name, attempts.c.number == number)
        with reading(self.engine) as connection:
            found = _all(connection, wanted, codec.attempt_of)
        return found[0] if found else None

    def tallies(self, wanted: Sequence[int]) -> list[AttemptTally]:
        """What the tests of builds came to."""
        with reading(self.engine) as connection:
            return cases.tallies_of(connection, wanted)

    def cases(
        self, of: Sequence[AttemptId], *, wrong: bool = False, at: int = 0, limit: int = ROWS_MAX
    ) -> list[StoredCase]:
        """Test results, what went wrong first."""
        with reading(self.engine) as connection:
            return cases.cases_of(connection, of, wrong=wrong, at=at, limit=limit)

    def tested_before(self, build: int) -> int | None:
        """What test results are compared with."""
        with reading(self.engine) as connection:
            return cases.tested_before(connection, build)

    def sharing(self, build: int, suite: str) -> Sharing | None:
        """A list that shards share."""
        with reading(self.engine) as connection:
            return shards.sharing_of(connection, build, suite)

    def shared_before(self, repo: str, suite: str, build: int) -> Sharing | None:
        """The one before it."""
        with reading(self.engine) as connection:
            return shards.durations_before(connection, repo, suite, build)

    def peers(self) -> list[Peer]:
        """Every key."""
        with reading(self.engine) as connection:
            return _all(connection, select(peers).order_by(peers.c.created_at, peers.c.key), codec.peer_of)

    def peer(self, key: str) -> Peer | None:
        """One key."""
        with reading(self.engine) as connection:
            found = _all(connection, select(peers).where(peers.c.key == key), codec.peer_of)
        return found[0] if found else None

    def tokens(self) -> list[Token]:
        """Every token."""
        with reading(self.engine) as connection:
            return _all(connection, select(tokens).order_by(tokens.c.created_at, tokens.c.id), codec.token_of)

    def timetables(self) -> list[Timetable]:
        """Every timetable."""
        with reading(self.engine) as connection:
            return _all(connection, select(timetables).order_by(timetables.c.repo), timetable_of)

    def secrets(self) -> list[Secret]:
        """Every secret."""
        key = [secrets.c[name] for name in codec.SECRET_KEY]
        with reading(self.engine) as connection:
            return _all(connection, select(secrets).order_by(*key), codec.secret_of)

    def close(self) -> None:
        """Let go of everything."""
        self.engine.dispose()


def load(engine: Engine) -> tuple[list[Record], int]:
    """Read the open builds with all under them, every runner, and the next build's id; see
    `surveil.store.Store.load`.
    """
    with reading(engine) as connection:
        own = connection.execute(select(cluster)).one()
        codec.CLUSTER.check(own)
        newest = _newest(connection)
        opened, under, tries = _under(connection, _open_build())
        _check_running(under, tries)
        found: list[Record] = [*opened, *under, *tries]
        found += _given_up(connection, newest)
        found += _all(connection, select(runners).order_by(runners.c.name, runners.c.id), codec.runner_of)
    return found, max(newest + 1, own.first_build)


def _newest(connection: Connection) -> int:
    """The last build's id, which is true, because the next one's follows from it; 0 before the first."""
    row = connection.execute(select(builds).order_by(builds.c.id.desc()).limit(1)).first()
    if row is None:
        return 0
    codec.BUILDS.check(row)
    return int(row.id)


def _check_running(under: Sequence[Job], tries: Sequence[Attempt]) -> None:
    """See that every running job has its attempt: one whose key was damaged may be read nowhere, and is only missed
    where it belongs.
    """
    going = {attempt.job for attempt in tries if attempt.state in OPEN}
    for job in under:
        if job.state == Status.RUNNING and job.id not in going:
            raise DamagedError(f"job {job.id} was damaged on disk, it runs without an open attempt")


def _given_up(connection: Connection, newest: int) -> list[Attempt]:
    """The attempts of settled builds with which their runners may still come back. Only of so many builds, because that
    is a scan.
    """
    wanted = (
        select(attempts)
        .where(attempts.c.build > newest - PAST_BUILDS_MAX, attempts.c.released == 0, attempts.c.state.in_(GIVEN_UP))
        .where(attempts.c.build.not_in(select(builds.c.id).where(_open_build())))
        .order_by(attempts.c.build, attempts.c.name, attempts.c.number)
    )
    return _all(connection, wanted, codec.attempt_of)


def _unread(error: Exception) -> StoreError:
    return StoreError(
        f"the database cannot be read ({cause_of(error)}): look at the disk and the folder's permissions, "
        "then run `surveil db check`"
    )


def _bounded(limit: int) -> int:
    return max(0, min(limit, ROWS_MAX))


def _open_build() -> Any:
    return text(OPEN_BUILD)


def _within(table: Table, condition: Any) -> Any:
    """The rows of `table` under builds that meet `condition`: by a list, because joined the other way it would be a
    scan.
    """
    return table.c.build.in_(select(builds.c.id).where(condition))


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[at : at + _IDS_MAX] for at in range(0, len(ids), _IDS_MAX))


def _all(connection: Connection, wanted: Select[Any], read: Callable[[Sequence[Any]], Any]) -> list[Any]:
    return [read(row) for row in all_rows(connection, wanted)]


def all_rows(connection: Connection, wanted: Select[Any]) -> Iterable[Sequence[Any]]:
    """The rows of an answer of any length, fetched in blocks: singly is slow, all at once is a second copy."""
    return connection.execute(wanted, execution_options={"yield_per": ROWS_MAX})


def _builds(connection: Connection, wanted: Select[Any]) -> list[Build]:
    rows = connection.execute(wanted).all()
    names: dict[int, list[str]] = {row[0]: [] for row in rows}
    for part in _parts(list(names)):
        listed = select(jobs).where(jobs.c.build.in_(part)).order_by(jobs.c.build, jobs.c.position)
        for row in connection.execute(listed):
            codec.JOBS.check(row)
            names[row.build].append(f"{row.build}/{row.name}")
    return [codec.build_of(row, names[row[0]]) for row in rows]


def _details(connection: Connection, ids: Sequence[int]) -> Iterable[BuildDetail]:
    opened, under, tries = _under(connection, builds.c.id.in_(ids))
    jobs_of = {build: tuple(found) for build, found in groupby(under, key=lambda job: job.build)}
    tries_of = {
        build: tuple(found) for build, found in groupby(tries, key=lambda attempt: codec.split_job(attempt.job)[0])
    }
    return [
        BuildDetail(build=build, jobs=jobs_of.get(build.id, ()), attempts=tries_of.get(build.id, ()))
        for build in opened
    ]


def _under(connection: Connection, condition: Any) -> tuple[list[Build], list[Job], list[Attempt]]:
    """Read the builds that meet `condition`, their jobs and the attempts at these; builds, then positions, in order."""

    def of(table: Table, *order: Any) -> Select[Any]:
        return select(table).where(_within(table, condition)).order_by(table.c.build, *order)

    # The builds themselves come last: their rows, with all their texts, are never held beside the jobs' rows.
    short = select(builds.c.id, builds.c.repo).where(condition).order_by(builds.c.id)
    repos = {build: intern(repo) for build, repo in all_rows(connection, short)}
    # Jobs of one repository mostly share their specs from build to build: each is read, and held in memory, once.
    wanted_specs = select(jobs.c.spec).where(_within(jobs, condition))
    bodies = connection.execute(select(specs.c.digest, specs.c.body).where(specs.c.digest.in_(wanted_specs)))
    spec_of: dict[bytes, JobSpec] = {row[0]: codec.spec_of(row[1], row[0]) for row in bodies}
    under = [codec.job_of(row, repos[row[0]], spec_of) for row in all_rows(connection, of(jobs, jobs.c.position))]
    names: dict[int, list[str]] = {build: [] for build in repos}
    for job in under:
        names[job.build].append(job.id)
    tries = _all(connection, of(attempts, attempts.c.name, attempts.c.number), codec.attempt_of)
    whole = select(builds).where(condition).order_by(builds.c.id)
    return [codec.build_of(row, names.pop(row[0])) for row in all_rows(connection, whole)], under, tries
