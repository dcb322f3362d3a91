"""Test results as rows, and the questions about them.

What belongs here: the columns, the rows, and what is asked of these two tables. What does not: when results are
written (`writing`), and what they mean for a build (`surveil.answer.cases`).

The result of a test is one row below its attempt; beside them an attempt has one row of how many there were in all,
which is written last. So results without that row are not all there, and are shown to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, func, not_, or_, select, tuple_

from surveil.core.model import AttemptId
from surveil.core.states import WRONG
from surveil.protocol import Case, Tally
from surveil.store import HISTORY_BUILDS, ROWS_MAX, SHARED_BUILDS_MAX, AttemptTally, StoredCase
from surveil.store.codec import split_job, texts, texts_of
from surveil.store.sums import SUM, Guard, Row, summed
from surveil.store.tables import builds, cases, tallies

CASE_COLUMNS: Final = tuple(cases.c.keys())
TALLY_COLUMNS: Final = tuple(tallies.c.keys())
CASES: Final = Guard(cases, "test result {position} of attempt {number} at job {build}/{name}", CASE_COLUMNS[:-1])
TALLIES: Final = Guard(tallies, "the tally of attempt {number} at job {build}/{name}", TALLY_COLUMNS[:-1])
GUARDS: Final = (CASES, TALLIES)
PRINTED_KEY: Final = ("build", "name", "number")
PRINTED: Final = select(func.sum(func.length(cases.c.output))).where(
    *(cases.c[name] == bindparam(name) for name in PRINTED_KEY)
)
"""How many characters all results of an attempt printed, together."""

BEFORE: Final = (
    select(builds.c.id)
    .where(
        builds.c.repo == bindparam("repo"), builds.c.ref == bindparam("ref"), builds.c.id < bindparam("build"),
        builds.c.sha != bindparam("sha"), exists().where(tallies.c.build == builds.c.id),
    )
    .order_by(builds.c.id.desc())
)  # fmt: skip
"""The builds before one, of the same ref and of another commit, that have test results; nobody reads on after the
first.
"""

assert (CASE_COLUMNS[-1], TALLY_COLUMNS[-1]) == (SUM, SUM), "the sum stands behind what it vouches for"


def case_rows(attempt: AttemptId, at: int, found: Sequence[Case]) -> Iterator[Row]:
    """The rows of results from number `at` on."""
    build, name = split_job(attempt[0])
    for position, one in enumerate(found, at):
        printed = one.output.replace("\0", "\ufffd")  # By SQLite's count a text ends there.
        yield summed((
            build, name, attempt[1], position, one.suite, one.name, one.state, one.duration_ms, one.message, printed,
        ))  # fmt: skip


def tally_row(attempt: AttemptId, tally: Tally) -> Row:
    """The row of how many there were."""
    build, name = split_job(attempt[0])
    return summed((
        build, name, attempt[1], tally.passed, tally.failed, tally.errored, tally.skipped, tally.duration_ms,
        texts(tally.problems),
    ))  # fmt: skip


def cases_of(
    connection: Connection,
    attempts: Sequence[AttemptId],
    sound_of: Sequence[AttemptId],
    *,
    wrong: bool,
    named: Sequence[str] | None,
    at: int,
    limit: int,
) -> list[StoredCase]:
    """The results of some attempts: first those that went wrong, in their order, then the slowest."""
    went_wrong = cases.c.state.in_(sorted(WRONG))
    order = (
        case((went_wrong, 0), else_=1), case((went_wrong, 0), else_=-cases.c.duration_ms),
        cases.c.build, cases.c.name, cases.c.number, cases.c.position,
    )  # fmt: skip
    counting = _below(attempts)
    if sound_of:
        counting = or_(counting, and_(_below(sound_of), not_(went_wrong)))
    chosen = select(cases).where(counting)
    if wrong:
        chosen = chosen.where(went_wrong)
    if named is not None:
        chosen = chosen.where(cases.c.test.in_(list(named)[:ROWS_MAX]))
    rows = connection.execute(chosen.order_by(*order).offset(at).limit(limit))
    return [_case_of(row) for row in rows]


def _below(attempts: Sequence[AttemptId]) -> ColumnElement[bool]:
    keys = [(*split_job(job), number) for job, number in attempts]
    return tuple_(cases.c.build, cases.c.name, cases.c.number).in_(keys)


def tested_before(connection: Connection, build: int) -> int | None:
    """The last build before this one of the same ref, and of another commit, that has test results."""
    own = connection.execute(select(builds.c.repo, builds.c.ref, builds.c.sha).where(builds.c.id == build)).first()
    if own is None:
        return None
    about = {"repo": own.repo, "ref": own.ref, "build": build, "sha": own.sha}
    return connection.execute(BEFORE, about).scalar()


def history(connection: Connection, build: int, suite: str, test: str) -> list[StoredCase]:
    """How a test ended in a build and in those before it of the same ref, newest first."""
    own = connection.execute(select(builds.c.repo, builds.c.ref).where(builds.c.id == build)).first()
    if own is None:
        return []
    of_ref = select(builds.c.id).where(
        builds.c.repo == own.repo, builds.c.ref == own.ref, builds.c.id <= build,
        builds.c.id > build - SHARED_BUILDS_MAX, exists().where(tallies.c.build == builds.c.id),
    )  # fmt: skip
    wanted = list(connection.execute(of_ref.order_by(builds.c.id.desc()).limit(HISTORY_BUILDS)).scalars())
    if not wanted:
        return []
    whole = exists().where(*(tallies.c[name] == cases.c[name] for name in PRINTED_KEY))
    found = select(cases).where(cases.c.build.in_(wanted), cases.c.suite == suite, cases.c.test == test, whole)
    order = (cases.c.build.desc(), cases.c.name, cases.c.number.desc(), cases.c.position)
    return [_case_of(row) for row in connection.execute(found.order_by(*order).limit(ROWS_MAX))]


def tally_of(row: Sequence[Any]) -> AttemptTally:
    """Read a row of how many there were."""
    TALLIES.check(row)
    build, name, number, passed, failed, errored, skipped, duration_ms, problems, _ = row
    return AttemptTally(
        job=f"{build}/{name}", attempt=number,
        tally=Tally(
            passed=passed, failed=failed, errored=errored, skipped=skipped, duration_ms=duration_ms,
            problems=texts_of(problems),
        ),
    )  # fmt: skip


def _case_of(row: Any) -> StoredCase:
    CASES.check(row)
    found = Case(
        suite=row.suite, name=row.test, state=row.state, duration_ms=row.duration_ms, message=row.message,
        output=row.output,
    )  # fmt: skip
    return StoredCase(job=f"{row.build}/{row.name}", attempt=row.number, case=found)
