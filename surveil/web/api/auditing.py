"""The route that tells who did what.

What belongs here: its filters. What does not: which acts there are (`surveil.answer.auditing`), and writing them down.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator

from surveil.answer.auditing import ACTS_MAX, What
from surveil.web.api.asking import Administers, Asked, Document
from surveil.web.routes import api_router

router = api_router("keeping")


def _no_number(said: Any) -> Any:
    """The library takes a number for seconds since 1970, whatever somebody meant by it. Raises ValueError."""
    if isinstance(said, str) and re.fullmatch(r"[-+.0-9]+", said.strip()):
        raise ValueError("write a time, as in `2026-11-22T17:00:00Z`")
    return said


Instant = Annotated[AwareDatetime, BeforeValidator(_no_number)]


@router.get("/audit")
async def audit(
    books: Asked,
    _visitor: Administers,
    person: Annotated[str, Query(max_length=200, description="only what this person did")] = "",
    what: Annotated[What | None, Query(description="only acts of this kind")] = None,
    since: Annotated[Instant | None, Query(description="only what was done then or later")] = None,
    limit: Annotated[int, Query(ge=1, le=ACTS_MAX)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="only acts with smaller positions")] = None,
) -> Document:
    """Who did what by pages, by this API and by commands, newest first; `next` is what to give as `before` for more of
    them, or null.
    """
    about = {
        "person": person,
        "what": "" if what is None else what.value,
        "since": _instant(since),
        "limit": limit,
        "before": before,
    }
    found = (await books.ask("audit", about)).body
    return {"acts": found, "next": found[-1]["position"] if len(found) == limit else None}


def _instant(since: datetime | None) -> int:
    return 0 if since is None else max(0, int(since.timestamp() * 1000))
