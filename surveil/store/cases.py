"""Test results as rows, and the questions about them.

What belongs here: the columns, the rows, and what is asked of these two tables. What does not: when results are
written (`writing`), and what they mean for a build (`surveil.answer.cases`).

The result of a test is one row below its attempt; beside them an attempt has one row of how many there were in all,
which is written last. So results without that row are not all there, and are shown to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, case, exists, select, tuple_

from surveil.core.model import AttemptId
from surveil.protocol import Case, Tally
from surveil.store import ROWS_MAX, AttemptTally, StoredCase
from surveil.store.codec import split_job, texts, texts_of
from surveil.store.sums import SUM, Guard, Row, summed
from surveil.store.tables import builds, cases, tallies

WRONG: Final = ("errored", "failed")
CASE_COLUMNS: Final = tuple(cases.c.keys())
TALLY_COLUMNS: Final = tuple(tallies.c.keys())
CASES: Final = Guard(cases, "test result {position} of attempt {number} at job {build}/{name}", CASE_COLUMNS[:-1])
TALLIES: Final = Guard(tallies, "the tally of attempt {number} at job {build}/{name}", TALLY_COLUMNS[:-1])
GUARDS: Final = (CASES, TALLIES)

assert (CASE_COLUMNS[-1], TALLY_COLUMNS[-1]) == (SUM, SUM), "the sum stands behind what it vouches for"


def case_rows(attempt: AttemptId, at: int, found: Sequence[Case]) -> Iterator[Row]:
    """The rows of results from number `at` on."""
    build, name = split_job(attempt[0])
    for position, one in enumerate(found, at):
        yield summed((
            build, name, attempt[1], position, one.suite, one.name, one.state, one.duration_ms, one.message, one.output,
        ))  # fmt: skip


def tally_row(attempt: AttemptId, tally: Tally) -> Row:
    """The row of how many there were."""
    build, name = split_job(attempt[0])
    return summed((
        build, name, attempt[1], tally.passed, tally.failed, tally.errored, tally.skipped, tally.duration_ms,
        texts(tally.problems),
    ))  # fmt: skip


def tallies_of(connection: Connection, wanted: Sequence[int]) -> list[AttemptTally]:
    """Of all attempts of some builds, in the order of builds, jobs' names and attempts."""
    order = (tallies.c.build, tallies.c.name, tallies.c.number)
    rows = connection.execute(select(tallies).where(tallies.c.build.in_(list(wanted)[:ROWS_MAX])).order_by(*order))
    return [_tally_of(row) for row in rows]


def cases_of(
    connection: Connection, attempts: Sequence[AttemptId], *, wrong: bool, at: int, limit: int
) -> list[StoredCase]:
    """The results of some attempts: first those that went wrong, in their order, then the slowest."""
    keys = [(*split_job(job), number) for job, number in attempts]
    went_wrong = cases.c.state.in_(WRONG)
    order = (
        case((went_wrong, 0), else_=1), case((went_wrong, 0), else_=-cases.c.duration_ms),
        cases.c.build, cases.c.name, cases.c.number, cases.c.position,
    )  # fmt: skip
    chosen = select(cases).where(tuple_(cases.c.build, cases.c.name, cases.c.number).in_(keys))
    if wrong:
        chosen = chosen.where(went_wrong)
    rows = connection.execute(chosen.order_by(*order).offset(at).limit(limit))
    return [_case_of(row) for row in rows]


def tested_before(connection: Connection, build: int) -> int | None:
    """The last build before this one of the same ref, and of another commit, that has test results."""
    own = connection.execute(select(builds.c.repo, builds.c.ref, builds.c.sha).where(builds.c.id == build)).first()
    if own is None:
        return None
    before = select(builds.c.id).where(
        builds.c.repo == own.repo, builds.c.ref == own.ref, builds.c.id < build, builds.c.sha != own.sha,
        exists().where(tallies.c.build == builds.c.id),
    )  # fmt: skip
    return connection.execute(before.order_by(builds.c.id.desc()).limit(1)).scalar()


def _tally_of(row: Any) -> AttemptTally:
    TALLIES.check(row)
    return AttemptTally(
        job=f"{row.build}/{row.name}", attempt=row.number,
        tally=Tally(
            passed=row.passed, failed=row.failed, errored=row.errored, skipped=row.skipped,
            duration_ms=row.duration_ms, problems=texts_of(row.problems),
        ),
    )  # fmt: skip


def _case_of(row: Any) -> StoredCase:
    CASES.check(row)
    found = Case(
        suite=row.suite, name=row.test, state=row.state, duration_ms=row.duration_ms, message=row.message,
        output=row.output,
    )  # fmt: skip
    return StoredCase(job=f"{row.build}/{row.name}", attempt=row.number, case=found)
