"""One build with everything under it, straight from the driver: what is asked for most, and by most.

What belongs here: the statements for one build, made once, and its records. What does not: several builds at once, and
every other question (`rows`, `reading`).

To make and look up a statement anew for each question takes several times as long as the database needs to answer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Dialect, bindparam, select
from sqlalchemy.sql import ClauseElement

from surveil.protocol import JobSpec
from surveil.store import AttemptTally, BuildDetail, codec, spec_codec
from surveil.store.cases import tally_of
from surveil.store.tables import attempts, builds, jobs, specs, tallies

_WANTED: Final[BindParameter[int]] = bindparam("build")
_BUILD: Final = select(builds).where(builds.c.id == _WANTED)
_JOBS: Final = select(jobs).where(jobs.c.build == _WANTED).order_by(jobs.c.position)
_SPECS: Final = select(specs.c.digest, specs.c.body).where(
    specs.c.digest.in_(select(jobs.c.spec).where(jobs.c.build == _WANTED))
)
_ATTEMPTS: Final = select(attempts).where(attempts.c.build == _WANTED).order_by(attempts.c.name, attempts.c.number)
_TALLIES: Final = select(tallies).where(tallies.c.build == _WANTED).order_by(tallies.c.name, tallies.c.number)


class OneBuild:
    """The statements, for one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        def made(wanted: ClauseElement) -> str:
            return str(wanted.compile(dialect=dialect))

        self._build, self._jobs, self._specs, self._attempts, self._tallies = map(
            made, (_BUILD, _JOBS, _SPECS, _ATTEMPTS, _TALLIES)
        )

    def detail(self, connection: Connection, build: int) -> BuildDetail | None:
        """The build, None where there is none.

        Raises:
            Exception: the driver's own errors as well, which SQLAlchemy has not wrapped.
        """
        found = self._rows(connection, self._build, build)
        if not found:
            return None
        (row,) = found
        bodies = self._rows(connection, self._specs, build)
        spec_of: dict[bytes, JobSpec] = {body[0]: spec_codec.spec_of(body[1], body[0]) for body in bodies}
        under = tuple(codec.job_of(each, row[2], spec_of) for each in self._rows(connection, self._jobs, build))
        tries = tuple(map(codec.attempt_of, self._rows(connection, self._attempts, build)))
        return BuildDetail(build=codec.build_of(row, [job.id for job in under]), jobs=under, attempts=tries)

    def tallies(self, connection: Connection, build: int) -> list[AttemptTally]:
        """What its tests came to; raises as `detail` does."""
        return [tally_of(row) for row in self._rows(connection, self._tallies, build)]

    def _rows(self, connection: Connection, statement: str, build: int) -> list[Sequence[Any]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement, (build,))
            return list(cursor.fetchall())
        finally:
            cursor.close()
