"""Builds with everything under them, straight from the driver: what is asked for most, and by most.

What belongs here: the statements for whole builds, made once, and their rows. What does not: every other question
(`reading`), and what the rows mean (`codec`).

To make and look up a statement anew for each question takes several times as long as the database needs to answer it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from threading import Lock
from typing import Any, Final, TypeAlias

from sqlalchemy import BindParameter, ClauseElement, Dialect, Engine, bindparam, select
from sqlalchemy.pool import QueuePool

from surveil.codec import pack_row
from surveil.core.model import Build
from surveil.protocol import JobSpec
from surveil.store import AttemptTally, BuildDetail, codec, spec_codec
from surveil.store.cases import BEFORE, tally_of
from surveil.store.rows import IDS_MAX, readable, unread
from surveil.store.tables import attempts, builds, jobs, shard_asks, specs, tallies

Row: TypeAlias = Sequence[Any]
_VERSION: Final = "PRAGMA data_version"
"""A number that another connection's commit changes for ours."""
_WANTED: Final[BindParameter[Any]] = bindparam("wanted", expanding=True)
_SOME: Final = "(__[POSTCOMPILE_wanted])"
"""What a list of any length is before its length is known, in a statement that was made for a driver."""
_BEFORE: Final = "before"
_MADE: Final[dict[tuple[str, str, str], dict[str, str]]] = {}
"""The statements by name, for each kind of database that this process has opened."""
SPECS_MAX: Final = 4000
"""What so many jobs were asked for is remembered: more than the largest builds have, or each look at one of those would
read all of it anew.
"""
SPECS_CHARACTERS_MAX: Final = 16 * 1024 * 1024
"""Of all of them together."""
SPEC_CHARACTERS_MAX: Final = 64 * 1024
"""Of jobs that say more, each look reads what it is."""


def _made_for(dialect: Dialect) -> dict[str, str]:
    """The statements in the words of a driver, by the table that they read. To write them takes longer than to open a
    database, and all databases of one kind have the same.
    """
    kind = (dialect.name, dialect.driver, dialect.paramstyle)
    if kind not in _MADE:
        wanted: dict[str, ClauseElement] = {
            builds.name: select(builds).where(builds.c.id.in_(_WANTED)),
            jobs.name: select(jobs).where(jobs.c.build.in_(_WANTED)),
            attempts.name: select(attempts).where(attempts.c.build.in_(_WANTED)),
            tallies.name: select(tallies).where(tallies.c.build.in_(_WANTED)),
            specs.name: select(specs.c.digest, specs.c.body).where(specs.c.digest.in_(_WANTED)),
            shard_asks.name: select(shard_asks).where(shard_asks.c.build.in_(_WANTED)),
            _BEFORE: BEFORE,
        }
        _MADE[kind] = {name: str(one.compile(dialect=dialect)) for name, one in wanted.items()}
    return _MADE[kind]


class WholeBuilds:
    """Whole builds out of one database."""

    def __init__(self, engine: Engine, is_same: Callable[[], bool]) -> None:
        """`is_same` says whether the database is still the one that was opened."""
        self._engine = engine
        self._is_same = is_same
        self._errors = engine.dialect.loaded_dbapi.Error
        self._place = "?" if engine.dialect.paramstyle == "qmark" else "%s"
        made = _made_for(engine.dialect)
        self._texts = {table: made[table.name] for table in (builds, jobs, attempts)}
        self._tallies = made[tallies.name]
        self._specs = made[specs.name]
        self._asks = made[shard_asks.name]
        self._before = made[_BEFORE]
        self._known: OrderedDict[bytes, tuple[JobSpec, int]] = OrderedDict()
        self._known_characters = 0
        self._watched: Any = None
        self._lock = Lock()

    def looks(self, wanted: Sequence[int], *, tests: bool) -> list[StoredLook]:
        """These builds; see `surveil.store.Reader`."""
        if not wanted:
            return []
        with self._looking() as cursor:
            return self._looks(cursor, wanted, tests=tests)

    def alone(self, find: Callable[[Any], Sequence[int]], *, named: bool) -> list[Build]:
        """Builds without what is under them, or with the names of their jobs alone: those whose numbers `find` finds,
        which is given the driver's cursor.
        """
        with self._looking() as cursor:
            found = find(cursor)
            rows = {row[0]: row for row in self._rows(cursor, self._texts[builds], found)}
            under = _by_build(self._rows(cursor, self._texts[jobs], found), lambda row: row[2]) if named else {}
            return [
                codec.build_of(rows[build], map(codec.job_id_of, under.get(build, ())))
                for build in found if build in rows
            ]  # fmt: skip

    def tallies(self, wanted: Sequence[int]) -> list[AttemptTally]:
        """What the tests of these builds came to, by build, job's name and attempt."""
        if not wanted:
            return []
        with self._looking() as cursor:
            return [tally_of(row) for row in self._rows(cursor, self._tallies, wanted)]

    def mark(self) -> object:
        """What stands for all that was written until now; see `surveil.store.Reader`. A loop may ask: it waits for
        nobody.
        """
        if not isinstance(self._engine.pool, QueuePool):
            return object()  # Reader and writer share a connection, which sees nothing change.
        if not self._is_same():
            return object()  # Whoever reads is told.
        with self._lock, self._failures():
            if self._watched is None:
                connection = self._engine.raw_connection()
                self._watched = connection.driver_connection
                connection.detach()  # The pool has as many for others as before.
                self._watched.execute("PRAGMA busy_timeout = 0")
            try:
                return self._watched.execute(_VERSION).fetchone()
            except self._errors:
                return object()  # Whoever reads meets it as well, and says what it is.

    def close(self) -> None:
        """Let go of what is kept open."""
        with self._lock:
            if self._watched is not None:
                self._watched.close()
                self._watched = None

    def _looks(self, cursor: Any, wanted: Sequence[int], *, tests: bool) -> list[StoredLook]:
        rows = {row[0]: row for row in self._rows(cursor, self._texts[builds], wanted)}
        under = _by_build(self._rows(cursor, self._texts[jobs], wanted), lambda row: row[2])
        tries = _by_build(self._rows(cursor, self._texts[attempts], wanted), lambda row: (row[1], row[2]))
        spec_of = self._spec_of(cursor, {row[3] for found in under.values() for row in found})
        tested = _by_build(self._rows(cursor, self._tallies, wanted), lambda row: row[1:3]) if tests else {}
        return [
            StoredLook(
                rows[build], under.get(build, ()), tries.get(build, ()), spec_of,
                self._tested(cursor, rows[build], tested[build]) if build in tested else (),
            )
            for build in wanted if build in rows
        ]  # fmt: skip

    def _tested(self, cursor: Any, row: Row, tested: Sequence[Row]) -> Sequence[object]:
        """All that the documents of a build's tests follow from: its tallies, and whatever they are compared with, also
        what shards without a report told. Results below a tally do not change any more.
        """
        cursor.execute(self._before, (row[2], row[3], row[0], row[4]))
        found = cursor.fetchone()
        if found is None:
            return tested
        compared = [
            self._rows(cursor, text, found[:1])
            for text in (self._texts[jobs], self._texts[attempts], self._tallies, self._asks)
        ]
        return tested, compared

    def _spec_of(self, cursor: Any, digests: Iterable[bytes]) -> Mapping[bytes, JobSpec]:
        """What the jobs with these digests were asked for: the same for ever, and mostly for build after build."""
        with self._lock:
            found = {digest: self._known[digest][0] for digest in digests if digest in self._known}
        lacking = [digest for digest in digests if digest not in found]
        for digest, body in self._rows(cursor, self._specs, lacking) if lacking else ():
            found[digest] = spec_codec.spec_of(body, digest)
            if len(body) <= SPEC_CHARACTERS_MAX:
                self._remember(digest, found[digest], len(body))
        return found

    def _remember(self, digest: bytes, spec: JobSpec, characters: int) -> None:
        with self._lock:
            if digest in self._known:
                return  # Another thread read it as well.
            self._known[digest] = spec, characters
            self._known_characters += characters
            while len(self._known) > SPECS_MAX or self._known_characters > SPECS_CHARACTERS_MAX:
                self._known_characters -= self._known.popitem(last=False)[1][1]

    def _rows(self, cursor: Any, text: str, wanted: Sequence[object]) -> list[Row]:
        found: list[Row] = []
        for at in range(0, len(wanted), IDS_MAX):
            part = tuple(wanted[at : at + IDS_MAX])
            cursor.execute(text.replace(_SOME, f"({','.join([self._place] * len(part))})"), part)
            found += cursor.fetchall()
        return found

    @contextmanager
    def _looking(self) -> Iterator[Any]:
        """One consistent look, by a cursor of the driver's. Raises StoreError."""
        with (
            self._failures(),
            closing(self._engine.raw_connection()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute("BEGIN")
            # The pool rolls back what comes back to it.
            yield cursor

    @contextmanager
    def _failures(self) -> Iterator[None]:
        with readable():
            try:
                yield
            except self._errors as error:
                raise unread(error) from error


class StoredLook:
    """Rows of one build; see `surveil.store.looks.Look`."""

    __slots__ = ("_jobs", "_row", "_spec_of", "_tested", "_tries", "build", "tested")

    def __init__(
        self, row: Row, under: Sequence[Row], tries: Sequence[Row], spec_of: Mapping[bytes, JobSpec],
        tested: Sequence[object],
    ) -> None:  # fmt: skip
        self.build: int = row[0]
        self.tested = bool(tested)
        self._row, self._jobs, self._tries, self._spec_of, self._tested = row, under, tries, spec_of, tested

    @property
    def version(self) -> object:
        """All values of these rows as one text of bytes: it is compared and measured at once, and whoever keeps many of
        them does not have each value of each row looked at whenever memory is tidied.
        """
        with readable():
            return pack_row((self._row, self._jobs, self._tries, self._tested))

    def detail(self) -> BuildDetail:
        """The build with everything under it."""
        with readable():
            under = tuple(codec.job_of(row, self._row[2], self._spec_of) for row in self._jobs)
            build = codec.build_of(self._row, [job.id for job in under])
            return BuildDetail(build=build, jobs=under, attempts=tuple(map(codec.attempt_of, self._tries)))


def _by_build(rows: list[Row], order: Callable[[Row], Any]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in sorted(rows, key=order):
        found.setdefault(row[0], []).append(row)
    return found
