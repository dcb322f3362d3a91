"""The writer's half of the store, over any database that SQLAlchemy reaches.

What belongs here: transactions, the fence of the epoch around each, and the batches in them. What does not: the
statements' wording (`statements`), keys and tokens (`admission`), and how a connection is made (`sqlite`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from threading import Lock
from typing import Any, Final, TypeAlias, assert_never

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from surveil.core.model import Attempt, AttemptId, Build, Job, LogEnd, Record, Runner
from surveil.core.peers import Peer
from surveil.core.scopes import Scope, Secret
from surveil.core.shards import Asked
from surveil.core.state import Changes
from surveil.core.timetable import Timetable
from surveil.protocol import PRINTED_MAX, Case, JobSpec, Tally
from surveil.store import Cluster, DefectError, FencedError, FullError, Reader, StoreError, Token, codec, spec_codec
from surveil.store.admission import redeem, revoke_peer, revoke_token, settle_peer
from surveil.store.cases import case_rows, tally_row
from surveil.store.failures import cause_of, is_full
from surveil.store.loading import load
from surveil.store.reading import SqlReader
from surveil.store.shards import ask_row, list_row
from surveil.store.shelf import Shelf
from surveil.store.statements import Statement, Statements
from surveil.store.sums import DamagedError, Row
from surveil.store.tables import cluster
from surveil.store.timetabling import timetable_row

_KNOWN_SPECS_MAX: Final = 10_000
"""Specs that are known to be stored; beyond this they are asked of the database again."""
_NAMED_MAX: Final = 3
"""How many records a complaint names."""

Met: TypeAlias = tuple[JobSpec, bytes, str]
"""A spec whose digest was taken just now, the digest, and the text that is stored."""


class SqlStore:
    """Writes to the tables; see `surveil.store.Store` for what each method promises."""

    def __init__(
        self, engine: Engine, *, begin: str, held: Cluster, reader: SqlReader, release: Callable[[], None],
        copied_at: int | None = None,
    ) -> None:  # fmt: skip
        self.engine = engine
        self._begin = begin
        self._held = held
        self._reader = reader
        self._release = release
        self.copied_at = copied_at
        """When the backup was made from which this start is the first, in milliseconds since 1970."""
        self._statements = Statements.compiled(engine.dialect)
        self._driver = engine.dialect.loaded_dbapi
        self._epoch = str(select(cluster.c.epoch).with_for_update(read=True).compile(dialect=engine.dialect))
        self._specs: dict[bytes, None] = {}
        self._digests: dict[int, tuple[JobSpec, bytes]] = {}
        """By the identity of specs that are held on to here: the jobs of most builds share theirs with earlier ones."""
        self._busy = Lock()
        self._connection = engine.connect()
        """Kept: taking it from the pool for each batch costs as much as storing twenty rows."""
        # Whoever reads has connections of the reader's: that of the writer may be amid a transaction.
        self.shelf = Shelf(reader.engine, self._transaction)
        """What is kept of attempts' work."""
        self._notes = reader.journal_end()
        """The position of the journal's last line; nobody else writes any."""

    @property
    def cluster(self) -> Cluster:
        """Which installation this is."""
        return self._held

    @property
    def reader(self) -> Reader:
        """The other half."""
        return self._reader

    def load(self) -> tuple[list[Record], int]:
        """What the mind needs after a start."""
        return load(self.engine)

    def commit(self, changes: Changes) -> None:
        """Write one batch as one transaction."""
        with self._batch() as driver:
            met: dict[int, Met] = {}
            self._insert(driver, changes.new, met)
            self._update(driver, changes.changed, met)
            self._end_logs(driver, changes.log_ends)
            runners = [record for record in (*changes.new, *changes.changed) if isinstance(record, Runner)]
            _run(self._statements.put_runner, driver, [codec.runner_row(runner) for runner in runners])
            first = self._notes + 1
            _run(self._statements.new_note, driver, list(map(codec.note_row, count(first), changes.notes)))
        self._notes += len(changes.notes)
        self._remember(met)

    def add_cases(self, attempt: AttemptId, at: int, found: Sequence[Case], tally: Tally | None) -> bool:
        """Keep test results."""
        with self._batch() as driver:
            _run(self._statements.new_case, driver, list(case_rows(attempt, at, found)))
            if any(case.output for case in found):  # Few parts are, so that few ask.
                printed = self._statements.printed.first(driver, (*codec.split_job(attempt[0]), attempt[1]))
                if printed is not None and printed[0] > PRINTED_MAX:
                    driver.rollback()
                    return False
            _run(self._statements.new_tally, driver, [] if tally is None else [tally_row(attempt, tally)])
        return True

    def add_shard_list(self, build: int, suite: str, digest: str, items: bytes) -> None:
        """Keep a shared list."""
        with self._batch() as driver:
            self._statements.new_shard_list.run(driver, [list_row(build, suite, digest, items)])

    def add_shard_ask(self, asked: Asked, suite: str) -> None:
        """Keep a question about one."""
        with self._batch() as driver:
            self._statements.new_shard_ask.run(driver, [ask_row(asked, suite)])

    def add_peer(self, peer: Peer) -> Peer:
        """Let a key in."""
        with self._transaction() as connection:
            return settle_peer(connection, self._statements, peer)

    def revoke_peer(self, key: str, *, now: int) -> bool:
        """Let a key in no more."""
        with self._transaction() as connection:
            return revoke_peer(connection, self._statements, key, now)

    def add_token(self, token: Token) -> None:
        """Keep a new join token."""
        with self._transaction() as connection:
            self._statements.new_token.run(connection.connection, [codec.token_row(token)])

    def revoke_token(self, token: str, *, now: int) -> bool:
        """Make a token worthless."""
        with self._transaction() as connection:
            return revoke_token(connection, self._statements, token, now)

    def redeem(self, digest: bytes, *, key: str, name: str, now: int) -> Peer:
        """Spend one use of a token for a key."""
        with self._transaction() as connection:
            return redeem(connection, self._statements, digest, key=key, name=name, now=now)

    def put_secrets(self, secrets: Sequence[Secret]) -> None:
        """Keep these, all or none."""
        with self._transaction() as connection:
            self._statements.put_secret.run(connection.connection, list(map(codec.secret_row, secrets)))

    def remove_secret(self, name: str, scope: Scope) -> bool:
        """Forget one."""
        with self._transaction() as connection:
            key = (name, scope.repo, scope.ref, scope.job)
            return self._statements.remove_secret.run(connection.connection, [key]) > 0

    def put_timetable(self, repo: str, table: Timetable | None) -> None:
        """Keep a repository's timetable, or none any more."""
        with self._transaction() as connection:
            if table is None:
                self._statements.remove_timetable.run(connection.connection, [(repo,)])
            else:
                self._statements.put_timetable.run(connection.connection, [timetable_row(table)])

    def close(self) -> None:
        """Let go of everything."""
        self._reader.close()
        self._connection.close()
        self.engine.dispose()
        self._release()

    # ---- inside
    # -----------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One durable transaction that only the present epoch may make."""
        with self._writing(), self._connection.begin():
            self._check_epoch(self._connection.exec_driver_sql(self._epoch).scalar_one())
            yield self._connection

    @contextmanager
    def _batch(self) -> Iterator[Any]:
        """The same on the driver's own connection: what SQLAlchemy does around a transaction takes longer than a small
        one, and several times as long when the process was idle and nothing of it is at hand.
        """
        with self._writing():
            driver: Any = self._connection.connection
            cursor = driver.cursor()
            cursor.execute(self._begin)
            try:
                cursor.execute(self._epoch)
                self._check_epoch(cursor.fetchone()[0])
                yield driver
                driver.commit()
            finally:
                driver.rollback()  # What was not committed, which is nothing where all went well.

    def _check_epoch(self, epoch: int) -> None:
        """The epoch's row is read locked, so that no other dispatcher can raise it between this look and the commit:
        SQLite takes the whole database at the transaction's begin, PostgreSQL the row.
        """
        if epoch != self._held.epoch:
            raise FencedError(
                f"another dispatcher (epoch {epoch}) took this data folder over from this one (epoch "
                f"{self._held.epoch}): this one ends; keep one dispatcher for each data folder"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        alone = self._busy.acquire(blocking=False)
        assert alone, "two threads write to the store at once"
        try:
            yield
        except (IntegrityError, self._driver.IntegrityError) as error:
            cause = error.orig if isinstance(error, IntegrityError) else error
            raise DefectError(f"a record was to be stored that the database must not hold ({cause})") from error
        except (SQLAlchemyError, self._driver.Error, UnicodeDecodeError) as error:
            kind = FullError if is_full(error) else StoreError
            raise kind(
                f"the database could not be written ({cause_of(error)}): look at the disk's free space and health"
            ) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise DefectError(f"a value was to be stored that no database can hold ({error})") from error
        finally:
            self._busy.release()

    def _insert(self, driver: Any, records: Sequence[Record], met: dict[int, Met]) -> None:
        builds: list[Row] = []
        jobs: list[Row] = []
        attempts: list[Row] = []
        for record in records:
            match record:
                case Build():
                    builds.append(codec.build_row(record))
                case Job():
                    jobs.append(codec.job_row(record, self._digest(record.spec, met)))
                case Attempt():
                    attempts.append(codec.attempt_row(record))
                case Runner():
                    pass
                case _:
                    assert_never(record)
        _run(self._statements.new_build, driver, builds)
        self._put_specs(driver, met)
        _run(self._statements.new_job, driver, jobs)
        _run(self._statements.new_attempt, driver, attempts)

    def _update(self, driver: Any, records: Sequence[Record], met: dict[int, Met]) -> None:
        by_kind: dict[type[Record], list[Any]] = {Build: [], Job: [], Attempt: [], Runner: []}
        for record in records:
            by_kind[type(record)].append(record)
        made = self._statements
        _change(made.change_build, driver, by_kind[Build], [codec.build_change(each) for each in by_kind[Build]])
        rows = [codec.job_change(each, self._digest(each.spec, met)) for each in by_kind[Job]]
        self._put_specs(driver, met)
        _change(made.change_job, driver, by_kind[Job], rows)
        rows = [codec.attempt_change(each) for each in by_kind[Attempt]]
        _change(made.change_attempt, driver, by_kind[Attempt], rows)

    def _put_specs(self, driver: Any, met: dict[int, Met]) -> None:
        """Store the specs that are not known to be: new ones, and after a start those of older jobs once more."""
        bodies = {digest: body for _, digest, body in met.values() if digest not in self._specs}
        _run(self._statements.new_spec, driver, list(bodies.items()))

    def _digest(self, spec: JobSpec, met: dict[int, Met]) -> bytes:
        """The digest of a spec; one that was not known is `met`."""
        known = self._digests.get(id(spec))
        if known is not None:
            return known[1]
        if id(spec) not in met:
            met[id(spec)] = (spec, *spec_codec.spec_row(spec))
        return met[id(spec)][1]

    def _end_logs(self, driver: Any, ends: Sequence[LogEnd]) -> None:
        """Write how long the logs of given-up attempts are, with the sums that their rows then have."""
        for end in ends:
            build, name = codec.split_job(end.job)
            row = self._statements.one_attempt.first(driver, (build, name, end.number))
            # One that is damaged stays so, and whoever reads it is told; a new sum would hide it.
            with suppress(DamagedError):
                if row is not None:
                    self._statements.end_log.run(driver, [codec.log_end_row(codec.attempt_of(row), end)])

    def _remember(self, met: dict[int, Met]) -> None:
        if len(self._digests) + len(met) > _KNOWN_SPECS_MAX:
            self._specs.clear()
            self._digests.clear()
        for spec, digest, _ in met.values():
            self._specs[digest] = None
            self._digests[id(spec)] = (spec, digest)


def _run(statement: Statement, driver: Any, rows: Sequence[Row]) -> None:
    if rows:
        statement.run(driver, rows)


def _change(statement: Statement, driver: Any, records: Sequence[Record], rows: Sequence[Row]) -> None:
    """Update one row for each record.

    Raises:
        DefectError: a row is missing, is settled otherwise, or was given something else.
    """
    if not rows or statement.run(driver, rows) == len(rows):
        return
    # Each is tried alone, inside the transaction that is rolled back, to name those that were refused.
    refused = [record for record, row in zip(records, rows, strict=True) if statement.run(driver, [row]) != 1]
    named = ", ".join(f"{type(record).__name__.lower()} {record.id}" for record in refused[:_NAMED_MAX])
    raise DefectError(
        f"{len(refused)} records were to change although they are settled, hold something else that never changes, or "
        f"were never stored: {named}. This is a defect of surveil; nothing of the transaction was written"
    )
