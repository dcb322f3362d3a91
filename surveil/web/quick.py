"""The short way to what programs ask for most: a build, or a list of builds, of somebody who was let in before.

What belongs here: telling such a request from others, and answering it. What does not: the documents (`ready`), and
every other request, which goes the usual way (`api.reading`).

The framework takes as long to find a route and to fill in its parameters as all that is left to do for such an answer.
Whatever is not plain goes the usual way, and is judged there: whoever is not known yet, or sees some repositories only;
arguments that need a second look; and everything that is refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from surveil.answer.answers import BUILDS_MAX
from surveil.core.model import Status
from surveil.errors import SurveilError
from surveil.frozen import dataclass
from surveil.web.api import PREFIX
from surveil.web.books import Books
from surveil.web.ready import Written
from surveil.web.root import path_in
from surveil.web.visitors import Door

_BUILDS: Final = f"{PREFIX}/builds"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}")
"""Of builds; none of these is too large for anything."""
_STATES: Final = frozenset(status.value for status in Status)
_FLAGS: Final = {"true": True, "false": False}
_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class _Route:
    """What those who count answers see of a route."""

    path: str


_ONE: Final = _Route(f"{_BUILDS}/{{build}}")
_LIST: Final = _Route(_BUILDS)


class Quick:
    """Answers plain requests itself, and passes all others on."""

    def __init__(self, app: ASGIApp, *, books: Books, door: Door, cluster: str) -> None:
        self._app = app
        self._books = books
        self._door = door
        self._cluster = cluster

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path = path_in(scope)
            if path.startswith(_BUILDS):
                found = await self._found(scope, path.removeprefix(_BUILDS))
                if found is not None:
                    await _send(send, found)
                    return
        await self._app(scope, receive, send)

    async def _found(self, scope: Scope, below: str) -> Written | None:
        """The answer to a plain request."""
        query = scope["query_string"].decode("ascii", "replace")
        if below and (query or below[0] != "/" or not _NUMBER.fullmatch(below[1:])):
            return None
        about = {} if below else _arguments(query)
        if about is None:
            return None
        visitor = self._door.recognised(HTTPConnection(scope))
        if visitor is None or not visitor.rights.sees_all:
            return None
        # Whoever counts answers learns it also of one that breaks; the usual way says it anew.
        scope["route"] = _ONE if below else _LIST
        try:
            if below:
                found = await self._books.written_build(int(below[1:]), self._cluster)
            else:
                brief = not about.pop("jobs", True)
                found = await self._books.written_builds(about, self._cluster, brief=brief)
        except SurveilError:
            return None  # Said the usual way.
        return found


def _arguments(query: str) -> dict[str, Any] | None:
    """The arguments of a list, as its route would have them; None where somebody else should read them."""
    about: dict[str, Any] = {"limit": _LIMIT}
    named: set[str] = set()
    for each in query.split("&") if query else ():
        name, _, value = each.partition("=")
        match name:
            case "before" if _NUMBER.fullmatch(value):
                about[name] = int(value)
            case "limit" if _NUMBER.fullmatch(value) and int(value) <= BUILDS_MAX:
                about[name] = int(value)
            case "jobs" if value in _FLAGS:
                about[name] = _FLAGS[value]
            case "state" if value in _STATES:
                about[name] = value
            case _:
                return None
        if name in named:
            return None
        named.add(name)
    return about


async def _send(send: Send, document: Written) -> None:
    headers = [
        (b"content-length", str(len(document.body)).encode()),
        (b"content-type", b"application/json"),
        (b"etag", document.tag.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": document.body})
