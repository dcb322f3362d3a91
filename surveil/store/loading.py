"""What a dispatcher has in memory when it starts: all that is open, and who may still come back.

What belongs here: reading it, once. What does not: questions (`reading`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, select, text

from surveil.core.model import GIVEN_UP, OPEN, Attempt, Job, Record, Status
from surveil.store import PAST_BUILDS_MAX, codec
from surveil.store.rows import read_all, read_under, reading
from surveil.store.sums import DamagedError
from surveil.store.tables import OPEN_BUILD, attempts, builds, cluster, runners


def load(engine: Engine) -> tuple[list[Record], int]:
    """Read the open builds with all under them, every runner, and the next build's id; see
    `surveil.store.Store.load`.
    """
    with reading(engine) as connection:
        own = connection.execute(select(cluster)).one()
        codec.CLUSTER.check(own)
        newest = _newest(connection)
        opened, under, tries = read_under(connection, text(OPEN_BUILD))
        _check_running(under, tries)
        found: list[Record] = [*opened, *under, *tries]
        found += _given_up(connection, newest)
        found += read_all(connection, select(runners).order_by(runners.c.name, runners.c.id), codec.runner_of)
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
        .where(attempts.c.build.not_in(select(builds.c.id).where(text(OPEN_BUILD))))
        .order_by(attempts.c.build, attempts.c.name, attempts.c.number)
    )
    return read_all(connection, wanted, codec.attempt_of)
