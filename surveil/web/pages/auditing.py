"""The page about who did what.

What belongs here: that page. What does not: which acts there are (`surveil.answer.auditing`).
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request, Response

from surveil.answer.auditing import What
from surveil.web.api.asking import Asked
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.rights import Scope
from surveil.web.routes import page_router

router = page_router()

PAGE: Final = 60


@router.get("/audit")
async def audit(
    request: Request,
    books: Asked,
    visitor: Looks,
    person: Annotated[str, Query(max_length=200)] = "",
    what: Annotated[str, Query(pattern=f"^({'|'.join(What)})?$")] = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """Who did what, newest first; for administrators."""
    visitor.require(Scope.ADMIN)
    found = (await books.ask("audit", {"person": person, "what": what, "before": before, "limit": PAGE})).body
    return page(
        request, "audit.html", visitor, title="Audit", acts=found, whats=list(What),
        filters={"person": person, "what": what}, is_filtered=bool(person or what),
        older=found[-1]["position"] if len(found) == PAGE else None,
    )  # fmt: skip
