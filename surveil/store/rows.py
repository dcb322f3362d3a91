"""How rows come out of any database that SQLAlchemy reaches: within one transaction, in blocks, and as records.

What belongs here: what every question and the start have in common. What does not: which rows somebody wants
(`reading`, `loading`), and how a record is written in a row (`codec`).

Jobs and attempts are found by their build, never by a scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from sys import intern
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, Table, select
from sqlalchemy.exc import SQLAlchemyError

from surveil.core.model import Attempt, Build, Job
from surveil.errors import ProtocolError
from surveil.protocol import JobSpec
from surveil.store import ROWS_MAX, StoreError, codec, spec_codec
from surveil.store.failures import cause_of
from surveil.store.tables import attempts, builds, jobs, specs

UNREADABLE: Final = (LookupError, TypeError, ValueError, RecursionError)
"""What reading a row raises whose values are of no kind that was ever written, or the driver, whose complaint holds
them: the disk changed it."""
IDS_MAX: Final = 500
"""Ids in one IN list; SQLite took at most 999 parameters for long, and plans are kept for each length."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent look at the database.

    Raises:
        StoreError: it cannot be read, or what it holds cannot be understood.
    """
    with readable(), engine.begin() as connection:
        yield connection


@contextmanager
def readable() -> Iterator[None]:
    """Where rows are read. Raises StoreError for what cannot be understood, or asked for by SQLAlchemy."""
    try:
        yield
    except SQLAlchemyError as error:
        raise unread(error) from error
    except (ProtocolError, *UNREADABLE) as error:
        raise StoreError(
            f"the database holds something that this version of surveil cannot read ({error}): run `surveil db check`"
        ) from error


def unread(error: Exception) -> StoreError:
    """The error for a database that could not be asked, with its cause in words."""
    return StoreError(
        f"the database cannot be read ({cause_of(error)}): look at the disk and the folder's permissions, "
        "then run `surveil db check`"
    )


def within(table: Table, condition: Any) -> Any:
    """The rows of `table` under builds that meet `condition`: by a list, because joined the other way it would be a
    scan.
    """
    return table.c.build.in_(select(builds.c.id).where(condition))


def parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """The ids in lists that one statement takes."""
    return (ids[at : at + IDS_MAX] for at in range(0, len(ids), IDS_MAX))


def read_all(connection: Connection, wanted: Select[Any], read: Callable[[Sequence[Any]], Any]) -> list[Any]:
    """What `read` makes of each of the rows."""
    return [read(row) for row in all_rows(connection, wanted)]


def all_rows(connection: Connection, wanted: Select[Any]) -> Iterable[Sequence[Any]]:
    """The rows of an answer of any length, fetched in blocks: singly is slow, all at once is a second copy."""
    return connection.execute(wanted, execution_options={"yield_per": ROWS_MAX})


def read_under(connection: Connection, condition: Any) -> tuple[list[Build], list[Job], list[Attempt]]:
    """Read the builds that meet `condition`, their jobs and the attempts at these; builds, then positions, in order."""

    def of(table: Table, *order: Any) -> Select[Any]:
        return select(table).where(within(table, condition)).order_by(table.c.build, *order)

    # The builds themselves come last: their rows, with all their texts, are never held beside the jobs' rows.
    short = select(builds.c.id, builds.c.repo).where(condition).order_by(builds.c.id)
    repos = {build: intern(repo) for build, repo in all_rows(connection, short)}
    # Jobs of one repository mostly share their specs from build to build: each is read, and held in memory, once.
    wanted_specs = select(jobs.c.spec).where(within(jobs, condition))
    bodies = connection.execute(select(specs.c.digest, specs.c.body).where(specs.c.digest.in_(wanted_specs)))
    spec_of: dict[bytes, JobSpec] = {row[0]: spec_codec.spec_of(row[1], row[0]) for row in bodies}
    under = [codec.job_of(row, repos[row[0]], spec_of) for row in all_rows(connection, of(jobs, jobs.c.position))]
    names: dict[int, list[str]] = {build: [] for build in repos}
    for job in under:
        names[job.build].append(job.id)
    tries = read_all(connection, of(attempts, attempts.c.name, attempts.c.number), codec.attempt_of)
    whole = select(builds).where(condition).order_by(builds.c.id)
    return [codec.build_of(row, names.pop(row[0])) for row in all_rows(connection, whole)], under, tries
