"""Going to a provider to sign in, and coming back.

What belongs here: these two routes and the cookie between them. What does not: what is said to providers, and what
their proofs are worth (`surveil.web.providers`).

The cookie holds chance that only this browser has, from which the words of the sign-in follow; it is gone after the
first return from there, whatever came of that. Nobody is ever led to an address that a request names.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from surveil.errors import NotFoundError, SurveilError
from surveil.web.allowing import address_of
from surveil.web.pages.signing import let_in, sign_in_page
from surveil.web.problems import status_of
from surveil.web.providers import Provider
from surveil.web.providers.words import NOT_BEGUN, is_word
from surveil.web.room import Room
from surveil.web.root import cookie_path, root_of
from surveil.web.routes import page_router
from surveil.web.visitors import Door, cookie_name

router = page_router()

ON_THE_WAY_S: Final = 600
"""So long somebody may take to sign in."""
RETURNS_MAX: Final = 32
"""So many come in from one provider at once: anybody can come with a code that they made up, and each has us ask it."""
RETURN_S: Final = 10.0
"""So long somebody waits for those before them."""
_CROWDED: Final = "So many sign in at this moment that there was no turn for you: load this page again in a while."
_SECRET_BYTES: Final = 32
_WORD_CHARACTERS_MAX: Final = 100
_CODE_CHARACTERS_MAX: Final = 8_000
_ISSUER_CHARACTERS_MAX: Final = 4_096


@router.get("/login/{provider}")
async def depart(request: Request, provider: str) -> Response:
    """Lead a browser to a provider."""
    found = _provider(request, provider)
    home = found.back.removesuffix("/back")
    if f"{request.url.scheme}://{request.url.netloc}{root_of(request)}/login/{provider}" != home:
        # It will come back there, and then has to show the cookie that it got there.
        return RedirectResponse(home, HTTPStatus.SEE_OTHER)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    try:
        answer = RedirectResponse(await found.way_there(secret), HTTPStatus.SEE_OTHER)
    except SurveilError as error:
        return sign_in_page(request, sentence=str(error), code=status_of(error))
    answer.set_cookie(
        _cookie(request), secret, max_age=ON_THE_WAY_S, httponly=True, samesite="lax",
        secure=request.url.scheme == "https", path=cookie_path(request),
    )  # fmt: skip
    return answer


@router.get("/login/{provider}/back")
async def come_back(
    request: Request,
    provider: str,
    *,
    state: Annotated[str, Query(max_length=_WORD_CHARACTERS_MAX)] = "",
    code: Annotated[str, Query(max_length=_CODE_CHARACTERS_MAX)] = "",
    iss: Annotated[str | None, Query(max_length=_ISSUER_CHARACTERS_MAX)] = None,
    error: Annotated[str, Query(max_length=_WORD_CHARACTERS_MAX)] = "",
) -> Response:
    """Let in whoever comes back with a proof of who they are."""
    found = _provider(request, provider)
    kept = request.cookies.get(_cookie(request), "")
    if not found.began(kept, state):
        # Anybody can lead a browser here: nothing that such an address says is repeated, and who is on their way stays.
        return sign_in_page(request, sentence=NOT_BEGUN, code=403)
    if error or not code:
        why = f" (`{error}`)" if error and is_word(error) else ""
        answer = sign_in_page(request, sentence=f"{found.rule.title} did not sign you in{why}: begin again.", code=403)
    else:
        returns: Mapping[str, Room] = request.app.state.returns
        async with returns[provider].place(address_of(request.scope)) as is_there:
            if not is_there:
                return sign_in_page(request, sentence=_CROWDED, code=503)
            answer = await _arrived(request, found, kept, code=code, state=state, issuer=iss)
    answer.delete_cookie(
        _cookie(request), path=cookie_path(request), secure=request.url.scheme == "https", httponly=True,
        samesite="lax",
    )  # fmt: skip
    return answer


async def _arrived(
    request: Request, provider: Provider, kept: str, *, code: str, state: str, issuer: str | None
) -> Response:
    door: Door = request.app.state.door
    try:
        who = await provider.arrival(kept, code=code, state=state, issuer=issuer)
        return let_in(request, await door.arrive(who), who.rule.lasts_ms)
    except SurveilError as error:
        return sign_in_page(request, sentence=str(error), code=status_of(error))


def _provider(request: Request, name: str) -> Provider:
    found: Provider | None = request.app.state.providers.get(name)
    if found is None:
        raise NotFoundError("Nobody signs in there: the sign-in page shows all ways in.")
    return found


def _cookie(request: Request) -> str:
    return f"{cookie_name(request)}-way"
