"""For whom the request that is being served asks.

What belongs here: remembering it from the door, where the visitor is known, to the books, where something is wished of
the dispatcher. What does not: who may what (`visitors`).

It goes with the request and not with each call on the way: a call that forgot it would leave an act that nobody did.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from starlette.requests import HTTPConnection

from surveil.client import Behalf
from surveil.web.root import path_of

PAGE: Final = "page"
API: Final = "api"
COMMAND: Final = "command"
_COMMANDS: Final = "/api/v1/questions/"
_BEHALF: Final[ContextVar[Behalf | None]] = ContextVar("behalf", default=None)


def remember(person: str, way: str) -> None:
    """From here on the request asks for this person."""
    _BEHALF.set(Behalf(person=person, way=way))


def present() -> Behalf | None:
    """For whom it asks, as far as anybody is known."""
    return _BEHALF.get()


def way_of(request: HTTPConnection, *, in_browser: bool) -> str:
    """How a request came: by a page, by the command line's own route, or by another one of the API."""
    if in_browser:
        return PAGE
    return COMMAND if path_of(request).startswith(_COMMANDS) else API
