"""Which builds somebody wants to see, found in indexes however many others there are.

What belongs here: the statements that find the numbers of builds by what is known of them, and by which index each of
them goes. What does not: reading the builds' records (`rows`), and how repositories have been doing (`outlook`).

Every statement is about one repository, one ref and one author at most, so that each is a walk along one index that
ends when the page is full. Whoever asks for several gets the newest of all of them together. SQLite cannot know which
of several indexes is the short one, and must not guess: only the columns of the one that is meant are shown to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, Dialect, Select, bindparam, literal_column, select, text

from surveil.core.model import VERDICTS, Status
from surveil.frozen import dataclass
from surveil.store import ROWS_MAX
from surveil.store.outlook import REPOSITORIES
from surveil.store.tables import NOT_PASSED, NOT_PASSED_BUILD, OPEN_BUILD, builds

_NOTHING: Final[ColumnElement[str]] = literal_column("''")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is known of the builds that somebody wants; None means any. `before` is a number that theirs are below."""

    repos: Sequence[str] | None
    ref: str | None
    state: Status | None
    event: str | None
    authors: Sequence[str] | None
    before: int | None


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement, what it takes, in order, and what of that is always the same."""

    sql: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]


class Finder:
    """The statements for one kind of database, each made when it is needed first."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[tuple[str, ...], _Statement] = {}
        self._repositories = self._compiled(REPOSITORIES)

    def find(self, cursor: Any, wanted: Filters, limit: int) -> list[int]:
        """The numbers of the newest builds of which all of this is so, newest first; by a cursor of the driver's.

        Raises:
            Exception: the driver's own errors, which SQLAlchemy has not wrapped.
        """
        every: list[int] = []
        repos: Iterable[str | None] = (None,) if wanted.repos is None else dict.fromkeys(wanted.repos)
        if wanted.repos is None and wanted.ref is not None:
            # No index begins with a ref: it is looked for in each repository.
            repos = self._firsts(cursor, self._repositories, {"most": ROWS_MAX})
        authors = (None,) if wanted.authors is None else dict.fromkeys(wanted.authors)
        state = None if wanted.state is None else wanted.state.value
        for repo, author in product(repos, authors):
            about = {
                "repo": repo, "ref": wanted.ref, "state": state, "event": wanted.event, "author": author,
                "before": wanted.before,
            }  # fmt: skip
            given = {name: value for name, value in about.items() if value is not None}
            statement = self._statement(tuple(given), wanted.state)
            every += self._firsts(cursor, statement, {**given, "most": limit})
        return nlargest(limit, every)

    def _firsts(self, cursor: Any, statement: _Statement, given: Mapping[str, Any]) -> list[Any]:
        """The first value of each row."""
        values = {**statement.fixed, **given}
        return [row[0] for row in cursor.execute(statement.sql, [values[name] for name in statement.names])]

    def _statement(self, given: tuple[str, ...], state: Status | None) -> _Statement:
        key = (*given, "" if state is None else _kind_of(state))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(given, state)
        return made

    def _make(self, given: tuple[str, ...], state: Status | None) -> _Statement:
        leading = _leading(frozenset(given), state)
        chosen = select(builds.c.id).order_by(builds.c.id.desc()).limit(bindparam("most"))
        for name in given:
            if name == "before":
                chosen = chosen.where(builds.c.id < bindparam("before"))
            else:
                column = builds.c[name] if name in leading else builds.c[name].concat(_NOTHING)
                chosen = chosen.where(column == bindparam(name))
        if state is not None and state is not Status.PASSED:
            # The condition of the index that has this state, word for word.
            chosen = chosen.where(text(NOT_PASSED_BUILD if state in NOT_PASSED else OPEN_BUILD))
        return self._compiled(chosen)

    def _compiled(self, chosen: Select[Any]) -> _Statement:
        made = chosen.compile(dialect=self._dialect)
        return _Statement(str(made), tuple(made.positiontup or ()), made.params)


def _kind_of(state: Status) -> str:
    """What statements differ by."""
    if state is Status.PASSED:
        return "passed"
    return "not passed" if state in NOT_PASSED else "open"


def _leading(given: frozenset[str], state: Status | None) -> frozenset[str]:
    """The columns with which the index begins that is the shortest way to builds of which so much is given."""
    if state is not None and state not in VERDICTS:
        return frozenset()  # Few are open, and an index has these alone.
    if state in NOT_PASSED:
        return frozenset({"repo", "state"} if "repo" in given else {"state"})
    if {"repo", "ref"} <= given:
        return frozenset({"repo", "ref"})
    for name in ("author", "repo", "event"):
        if name in given:
            return frozenset({name})
    return frozenset()
