"""Coming in and going out.

What belongs here: the pages for a link, and for whoever has none; giving a browser its session. What does not: what
sessions are (`surveil.web.visitors`), and coming from a provider (`arriving`).

A link is opened by whatever looks at a mail or a chat as well, so opening it does nothing: its page has one button, and
that spends it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from surveil.errors import NotAllowedError
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.root import cookie_path
from surveil.web.routes import page_router
from surveil.web.visitors import CSRF_FIELD, SESSION_MS, Door, check_origin, check_sign_in, cookie_name

router = page_router()

_KEY_CHARACTERS_MAX = 100
_USED_UP = "This link is used up or too old. A link works once, within 15 minutes."


@router.get("/login")
async def invite(request: Request, key: Annotated[str, Query(max_length=_KEY_CHARACTERS_MAX)] = "") -> Response:
    """The page that a link leads to."""
    return sign_in_page(request, key=key)


@router.post("/login")
async def enter(request: Request, key: Annotated[str, Form(max_length=_KEY_CHARACTERS_MAX)]) -> Response:
    """Spend a link, and begin a session."""
    check_sign_in(request)
    door: Door = request.app.state.door
    entered = await door.enter(key.strip())
    if entered is None:
        return sign_in_page(request, sentence=_USED_UP, code=403)
    secret, _ = entered
    return let_in(request, secret, SESSION_MS)


def sign_in_page(request: Request, *, key: str = "", sentence: str = "", code: int = 200) -> Response:
    """The ways in, with what went wrong on one of them."""
    ways = [(name, each.rule.title) for name, each in request.app.state.providers.items()]
    return page(request, "login.html", None, key=key, sentence=sentence, ways=ways, code=code)


def let_in(request: Request, secret: str, lasts_ms: int) -> Response:
    """Give this browser its session, in place of one that it may have, and lead it to the first page."""
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        cookie_name(request),
        secret,
        max_age=lasts_ms // 1000,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path=cookie_path(request),
    )
    return answer


@router.post("/logout")
async def leave(request: Request, visitor: Looks, word: Annotated[str, Form(alias=CSRF_FIELD)] = "") -> Response:
    """End this session."""
    check_origin(request, visitor, word)
    if visitor.csrf is None:
        raise NotAllowedError("A token is ended with `surveil login --end`, and has no session.")
    door: Door = request.app.state.door
    await door.leave(visitor)
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(
        cookie_name(request),
        path=cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer
