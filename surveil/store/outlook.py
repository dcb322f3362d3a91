"""Which builds somebody wants to see, and how repositories have been doing.

What belongs here: choosing builds by what is known of them, without a look at those that are not wanted. What does not:
reading their records (`rows`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, select, text

from surveil.core.model import VERDICTS, Status
from surveil.store import ROWS_MAX, Outline
from surveil.store.tables import ENDED_BUILD, OPEN_BUILD, builds

_NEXT_REPO: Final = select(func.min(builds.c.repo)).where(builds.c.repo > bindparam("after"))
_OUTLINE: Final = (
    builds.c.id, builds.c.ref, builds.c.state, builds.c.created_at, builds.c.started_at, builds.c.finished_at
)  # fmt: skip
_STATUS: Final = {status.value: status for status in Status}


def wanted(
    *, repo: str | None, ref: str | None, state: Status | None, event: str | None, before: int | None
) -> Select[Any]:
    """The builds of which all of this is so, newest first."""
    chosen = select(builds).order_by(builds.c.id.desc())
    # Of what ended badly there is little: its own index has it all, and SQLite must not choose that of the repository,
    # which has everything else as well.
    rare = state in VERDICTS and state is not Status.PASSED
    of_repo = builds.c.repo.concat("") if rare else builds.c.repo
    for column, value in ((of_repo, repo), (builds.c.ref, ref), (builds.c.event, event)):
        if value is not None:
            chosen = chosen.where(column == value)
    if state is not None:
        # The condition of the index that has this state, word for word.
        chosen = chosen.where(builds.c.state == state.value, text(ENDED_BUILD if state in VERDICTS else OPEN_BUILD))
    return chosen if before is None else chosen.where(builds.c.id < before)


def repositories(connection: Connection) -> list[str]:
    """Every repository by name: each is one step in the index, however many builds it has."""
    found: list[str] = []
    while len(found) < ROWS_MAX:
        name = connection.execute(_NEXT_REPO, {"after": found[-1] if found else ""}).scalar()
        if name is None:
            break
        found.append(str(name))
    return found


def outlines(connection: Connection, repo: str, ref: str | None, limit: int) -> list[Outline]:
    """The newest builds of a repository, or of one of its refs, first."""
    chosen = select(*_OUTLINE).where(builds.c.repo == repo).order_by(builds.c.id.desc()).limit(limit)
    if ref is not None:
        chosen = chosen.where(builds.c.ref == ref)
    return [
        Outline(id=row[0], ref=row[1], state=_STATUS[row[2]], created_at=row[3], started_at=row[4], finished_at=row[5])
        for row in connection.execute(chosen)
    ]
