"""What the routes of the pages share: who looks, and where those go who may not.

What belongs here: dependencies of routes. What does not: any route; those of the API have their own
(`surveil.web.api.asking`), because what is wrong is said to programs in another way.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from surveil.web.api.asking import known
from surveil.web.rights import Scope
from surveil.web.visitors import CSRF_FIELD, Visitor, check_origin


async def looker(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever may look at something. Until the page is there and listens, things happen: it listens from here on."""
    visitor.require_some(Scope.READ)
    request.state.position = await request.app.state.books.position()
    return visitor


async def doer(request: Request, visitor: Annotated[Visitor, Depends(looker)]) -> Visitor:
    """Whoever may have something run, and sent a form of one of our pages."""
    await signed(request, visitor)
    visitor.require_some(Scope.RUN)
    return visitor


async def holder(visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever is signed in, whatever they may do."""
    visitor.require_known()
    return visitor


async def signed(request: Request, visitor: Visitor) -> None:
    """See that a form is one of our own pages. Raises NotAllowedError."""
    form = await request.form(max_fields=20, max_files=0)
    check_origin(request, visitor, str(form.get(CSRF_FIELD, "")))


Looks = Annotated[Visitor, Depends(looker)]
Does = Annotated[Visitor, Depends(doer)]
Holds = Annotated[Visitor, Depends(holder)]
