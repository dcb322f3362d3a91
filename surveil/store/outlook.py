"""How repositories have been doing, and who they are.

What belongs here: names that are found without a look at all builds, and as much of builds as tells how a repository
stands. What does not: choosing builds by what is known of them (`finding`), and reading their records (`rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, bindparam, func, select

from surveil.core.model import Status
from surveil.store import ROWS_MAX, Outline
from surveil.store.rows import parts
from surveil.store.tables import builds

_OUTLINE: Final = (
    builds.c.id, builds.c.ref, builds.c.state, builds.c.created_at, builds.c.started_at, builds.c.finished_at
)  # fmt: skip
_STATUS: Final = {status.value: status for status in Status}


def _different(column: Column[str]) -> Select[Any]:
    """Each value of a column that an index begins with, in order, at most `most`: each is one step in the index,
    however many builds have it.
    """
    chain = select(func.min(column).label("value")).cte("chain", recursive=True)
    following = select(func.min(column)).where(column > chain.c.value).scalar_subquery()
    chain = chain.union_all(select(following).where(chain.c.value.is_not(None)))
    return select(chain.c.value).where(chain.c.value.is_not(None)).limit(bindparam("most"))


REPOSITORIES: Final = _different(builds.c.repo)
_AUTHORS: Final = _different(builds.c.author)


def repositories(connection: Connection) -> list[str]:
    """Every repository by name."""
    return [str(row[0]) for row in connection.execute(REPOSITORIES, {"most": ROWS_MAX})]


def authors(connection: Connection, limit: int) -> list[str]:
    """Every author by name."""
    return [str(row[0]) for row in connection.execute(_AUTHORS, {"most": limit})]


def outlines(connection: Connection, repo: str, ref: str | None, limit: int) -> list[Outline]:
    """The newest builds of a repository, or of one of its refs, first."""
    chosen = select(*_OUTLINE).where(builds.c.repo == repo).order_by(builds.c.id.desc()).limit(limit)
    if ref is not None:
        chosen = chosen.where(builds.c.ref == ref)
    return [_outline(row) for row in connection.execute(chosen)]


def outlines_after(
    connection: Connection, after: int, among: Sequence[int]
) -> tuple[list[tuple[str, Outline]], dict[int, Outline]]:
    """Builds with greater numbers, the oldest first, each with its repository; and by number those `among` these."""
    made = select(*_OUTLINE, builds.c.repo).where(builds.c.id > after).order_by(builds.c.id).limit(ROWS_MAX)
    new = [(str(row[-1]), _outline(row)) for row in connection.execute(made)]
    changed = {
        row[0]: _outline(row)
        for part in parts(among)
        for row in connection.execute(select(*_OUTLINE).where(builds.c.id.in_(part)))
    }
    return new, changed


def _outline(row: Sequence[Any]) -> Outline:
    return Outline(
        id=row[0], ref=row[1], state=_STATUS[row[2]], created_at=row[3], started_at=row[4], finished_at=row[5]
    )
