"""Who may see badges and feeds.

What belongs here: letting in readers that know a user and a password only. What does not: passes (`visitors`).

A token is shown as everywhere; whoever cannot do that gives it as the password of Basic authentication, with any user.
That is taken here alone, where nothing can be changed: a browser would send it by itself.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request

from surveil.web.books import Books
from surveil.web.own import OwnBooks
from surveil.web.rights import Scope
from surveil.web.visitors import Door, UnknownVisitor, password_of

_REALM: Final = 'Basic realm="surveil: any user, and a token as the password", charset="UTF-8"'


async def seen(request: Request) -> Books:
    """The books, as far as whoever asks may read them.

    Raises:
        NotAllowedError: they may not.
    """
    door: Door = request.app.state.door
    try:
        visitor = await door.visitor(_with_token(request))
    except UnknownVisitor as error:
        raise HTTPException(401, str(error), headers={"www-authenticate": _REALM}) from error
    visitor.require_some(Scope.READ)
    return OwnBooks(request.app.state.books, visitor)


async def badged(request: Request) -> Books:
    """The same for badges, which the operator may show to everybody."""
    if request.app.state.public_badges:
        found: Books = request.app.state.books
        return found
    return await seen(request)


def _with_token(request: Request) -> Request:
    """The request as it would be if it showed its token as programs do."""
    token = password_of(request)
    if token is None:
        return request
    others = [(name, value) for name, value in request.scope["headers"] if name not in {b"authorization", b"cookie"}]
    shown = (b"authorization", f"Bearer {token}".encode("utf-8", "replace"))
    return Request({**request.scope, "headers": [*others, shown]})


Seen = Annotated[Books, Depends(seen)]
Badged = Annotated[Books, Depends(badged)]
