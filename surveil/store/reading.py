"""The reader's half of the store, over any database that SQLAlchemy reaches.

What belongs here: questions. What does not: writing, how rows come (`rows`), and how a connection is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from sqlalchemy import Engine, bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from surveil.core.model import Attempt, AttemptId, Build, Runner, Status
from surveil.core.peers import Peer
from surveil.core.scopes import Secret
from surveil.core.timetable import Timetable
from surveil.store import (
    ROWS_MAX,
    AttemptTally,
    BuildDetail,
    Cluster,
    Counts,
    JournalLine,
    Outline,
    Sharing,
    StoredCase,
    Token,
    cases,
    codec,
    happening,
    outlook,
    shards,
)
from surveil.store.finding import Filters, Finder
from surveil.store.happening import Happened
from surveil.store.looks import Look
from surveil.store.rows import UNREADABLE, read_all, reading, unread, within
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
    timetables,
    tokens,
)
from surveil.store.timetabling import timetable_of
from surveil.store.whole import WholeBuilds

_OF_MID: Final = select(builds.c.id).where(builds.c.mid == bindparam("mid"))
_JOURNAL_END: Final = select(func.max(notes.c.position))


class SqlReader:
    """Answers from the tables; see `surveil.store.Reader` for what each question means."""

    def __init__(self, engine: Engine, is_same: Callable[[], bool] = lambda: True) -> None:
        """`is_same` says whether the database is still the one that was opened."""
        self.engine = engine
        self._driver = engine.dialect.loaded_dbapi
        self._of_mid, self._journal_end = (
            str(each.compile(dialect=engine.dialect)) for each in (_OF_MID, _JOURNAL_END)
        )
        self._finder = Finder(engine.dialect)
        self._whole = WholeBuilds(engine, is_same)

    def cluster(self) -> Cluster:
        """Which installation this is."""
        with reading(self.engine) as connection:
            row = connection.execute(select(cluster)).one()
        codec.CLUSTER.check(row)
        return Cluster(id=row.id, epoch=row.epoch)

    def builds(
        self,
        *,
        repo: str | None = None,
        ref: str | None = None,
        state: Status | None = None,
        event: str | None = None,
        limit: int = 20,
        before: int | None = None,
        jobs: bool = True,
        among: Sequence[str] | None = None,
        authors: Sequence[str] | None = None,
    ) -> list[Build]:
        """The newest builds first."""
        repos = among if repo is None else (repo,)
        wanted = Filters(repos=repos, ref=ref, state=state, event=event, authors=authors, before=before)
        return self._whole.alone(lambda cursor: self._finder.find(cursor, wanted, _bounded(limit)), named=jobs)

    def authors(self, *, limit: int = ROWS_MAX) -> list[str]:
        """Every author."""
        with reading(self.engine) as connection:
            return outlook.authors(connection, limit)

    def repositories(self) -> list[str]:
        """Every repository."""
        with reading(self.engine) as connection:
            return outlook.repositories(connection)

    def outlines(self, repo: str, *, ref: str | None = None, limit: int = 200) -> list[Outline]:
        """How a repository has been doing."""
        with reading(self.engine) as connection:
            return outlook.outlines(connection, repo, ref, _bounded(limit))

    def outlines_after(self, after: int, among: Sequence[int]) -> tuple[list[tuple[str, Outline]], dict[int, Outline]]:
        """What is new, and what may have changed."""
        with reading(self.engine) as connection:
            return outlook.outlines_after(connection, after, among)

    def build(self, build: int) -> BuildDetail | None:
        """One build with everything under it."""
        found = self._whole.looks([build], tests=False)
        return found[0].detail() if found else None

    def details(self, builds: Sequence[int]) -> list[BuildDetail]:
        """Several builds with everything under them."""
        return [look.detail() for look in self.looks(builds)]

    def mark(self) -> object:
        """What stands for all that was written until now."""
        return self._whole.mark()

    def looks(self, builds: Sequence[int], *, tests: bool = False) -> list[Look]:
        """Several builds, read when somebody wants to know."""
        return list(self._whole.looks(list(dict.fromkeys(builds))[:ROWS_MAX], tests=tests))

    def build_of_mid(self, mid: str) -> int | None:
        """The build that a fact made.

        Asked for each commit, in the dispatcher's loop: one statement is one moment, and takes a third of the time when
        it goes straight to the driver.
        """
        return self._first(self._of_mid, mid) or None

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

    def incidents(self, *, limit: int = 200) -> list[JournalLine]:
        """The newest lines of no build first."""
        wanted = select(notes).where(notes.c.build.is_(None)).order_by(notes.c.position.desc()).limit(_bounded(limit))
        with reading(self.engine) as connection:
            return [JournalLine(position=row[0], note=codec.note_of(row)) for row in connection.execute(wanted)]

    def journal_end(self) -> int:
        """The position of the newest line."""
        return self._first(self._journal_end)

    def happened(self, after: int) -> Happened:
        """What was written after a position, in numbers."""
        with reading(self.engine) as connection:
            return happening.happened(connection, after)

    def queued_since(self) -> int | None:
        """When the longest wait of a queued job began."""
        with reading(self.engine) as connection:
            return happening.queued_since(connection)

    def counts(self) -> Counts:
        """How much waits and runs."""
        states = select(jobs.c.state, func.count()).where(within(jobs, text(OPEN_BUILD))).group_by(jobs.c.state)
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
            return read_all(connection, select(runners).order_by(runners.c.name, runners.c.id), codec.runner_of)

    def owner(self, job: str, attempt: int) -> str | None:
        """Whose attempt this is."""
        found = self.attempt(job, attempt)
        return None if found is None else found.runner

    def attempt(self, job: str, number: int) -> Attempt | None:
        """One attempt."""
        build, name = codec.split_job(job)
        wanted = select(attempts).where(attempts.c.build == build, attempts.c.name == name, attempts.c.number == number)
        with reading(self.engine) as connection:
            found = read_all(connection, wanted, codec.attempt_of)
        return found[0] if found else None

    def tallies(self, wanted: Sequence[int]) -> list[AttemptTally]:
        """What the tests of builds came to."""
        return self._whole.tallies(list(wanted)[:ROWS_MAX])

    def cases(
        self,
        of: Sequence[AttemptId],
        *,
        sound_of: Sequence[AttemptId] = (),
        wrong: bool = False,
        named: Sequence[str] | None = None,
        at: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[StoredCase]:
        """Test results, what went wrong first."""
        with reading(self.engine) as connection:
            return cases.cases_of(connection, of, sound_of, wrong=wrong, named=named, at=at, limit=limit)

    def tested_before(self, build: int) -> int | None:
        """What test results are compared with."""
        with reading(self.engine) as connection:
            return cases.tested_before(connection, build)

    def history(self, build: int, suite: str, test: str) -> list[StoredCase]:
        """How a test has been doing."""
        with reading(self.engine) as connection:
            return cases.history(connection, build, suite, test)

    def sharing(self, build: int, suite: str) -> Sharing | None:
        """A list that shards share."""
        with reading(self.engine) as connection:
            return shards.sharing_of(connection, build, suite)

    def shared_before(
        self, repo: str, suite: str, *, ref: str | None = None, before: int | None = None, limit: int = 1
    ) -> list[Sharing]:
        """Those before it."""
        with reading(self.engine) as connection:
            return shards.shared_before(connection, repo, suite, ref=ref, before=before, limit=limit)

    def peers(self) -> list[Peer]:
        """Every key."""
        with reading(self.engine) as connection:
            return read_all(connection, select(peers).order_by(peers.c.created_at, peers.c.key), codec.peer_of)

    def peer(self, key: str) -> Peer | None:
        """One key."""
        with reading(self.engine) as connection:
            found = read_all(connection, select(peers).where(peers.c.key == key), codec.peer_of)
        return found[0] if found else None

    def tokens(self) -> list[Token]:
        """Every token."""
        with reading(self.engine) as connection:
            return read_all(connection, select(tokens).order_by(tokens.c.created_at, tokens.c.id), codec.token_of)

    def timetables(self) -> list[Timetable]:
        """Every timetable."""
        with reading(self.engine) as connection:
            return read_all(connection, select(timetables).order_by(timetables.c.repo), timetable_of)

    def secrets(self) -> list[Secret]:
        """Every secret."""
        key = [secrets.c[name] for name in codec.SECRET_KEY]
        with reading(self.engine) as connection:
            return read_all(connection, select(secrets).order_by(*key), codec.secret_of)

    def _first(self, statement: str, *values: str) -> int:
        """The number that one statement finds, straight from the driver; 0 where it finds none."""
        try:
            with closing(self.engine.raw_connection()) as connection:
                found = connection.cursor().execute(statement, values).fetchone()
        except (SQLAlchemyError, self._driver.Error, *UNREADABLE) as error:
            raise unread(error) from error
        return 0 if found is None or found[0] is None else int(found[0])

    def close(self) -> None:
        """Let go of everything."""
        self._whole.close()
        self.engine.dispose()


def _bounded(limit: int) -> int:
    return max(0, min(limit, ROWS_MAX))
