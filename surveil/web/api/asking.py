"""What the routes of the API share: who asks, of what, and how things are named in addresses.

What belongs here: dependencies of routes. What does not: any route.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request

from surveil.errors import NotFoundError
from surveil.web.books import Books
from surveil.web.ids import build_of
from surveil.web.own import OwnBooks
from surveil.web.rights import Scope
from surveil.web.visitors import CSRF_HEADER, Door, Visitor, check_origin

JOB_CHARACTERS_MAX = 300


async def known(request: Request) -> Visitor:
    """Whoever asks; they are looked up once for each request."""
    door: Door = request.app.state.door
    return await door.visitor(request)


async def books(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Books:
    """Where questions are answered, as far as this visitor may ask them."""
    return OwnBooks(request.app.state.books, visitor)


async def reader(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever may look at something."""
    return allowed(request, visitor, Scope.READ)


async def runner(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever may have something run, from a page of ours or with a token."""
    return allowed(request, visitor, Scope.RUN)


async def keeper(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever administers something, from a page of ours or with a token."""
    return allowed(request, visitor, Scope.ADMIN)


async def admin(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever may do everything, from a page of ours or with a token."""
    visitor.require(Scope.ADMIN)
    return allowed(request, visitor, Scope.ADMIN)


async def holder(request: Request, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever came with a pass, whatever it allows."""
    visitor.require_known()
    return allowed(request, visitor, Scope.NONE)


def allowed(request: Request, visitor: Visitor, scope: Scope) -> Visitor:
    """Whoever asks, who may do what is of this scope with some repository; the books see to it with which.

    Raises:
        UnknownVisitor: they came with nothing, and this is not public.
        NotAllowedError: they may not.
    """
    visitor.require_some(scope)
    if request.method not in {"GET", "HEAD"}:
        check_origin(request, visitor, request.headers.get(CSRF_HEADER, ""))
    return visitor


async def build_number(
    request: Request,
    visitor: Annotated[Visitor, Depends(known)],
    build: Annotated[str, Path(max_length=40, description="a build's number, or its UUID")],
) -> int:
    """The build that an address names by its number or its UUID, if it is there for this visitor. Raises
    NotFoundError.
    """
    found = build_of(build, request.app.state.cluster)
    if found is None:
        raise NotFoundError(f"There is no build {build!r}: builds have numbers and UUIDs.")
    await OwnBooks(request.app.state.books, visitor).require_build(found)
    return found


Asked = Annotated[Books, Depends(books)]
Reads = Annotated[Visitor, Depends(reader)]
Runs = Annotated[Visitor, Depends(runner)]
Keeps = Annotated[Visitor, Depends(keeper)]
Administers = Annotated[Visitor, Depends(admin)]
Holds = Annotated[Visitor, Depends(holder)]
BuildNumber = Annotated[int, Depends(build_number)]
JobName = Annotated[str, Path(max_length=JOB_CHARACTERS_MAX, description="a job's name in its build")]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key", max_length=255, pattern=r"^[\x20-\x7e]*$",
        description="a text of your choice: whoever asks for the same again with it is answered with the same build",
    ),
]  # fmt: skip
Document = dict[str, Any]
