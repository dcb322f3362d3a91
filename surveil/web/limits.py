"""How much anybody may send, and in what form: the body of a request, whoever asks.

What belongs here: refusing what is too large, or what nobody here takes, before it is read. What does not: what an
asker may do (`visitors`).

A body is read whole, and taken apart, before a route asks who sent it: for a megabyte that takes a quarter of a second
in which nobody else is answered. So whoever shows no good pass may send little. A webhook shows none and is bounded
where it comes in (`hooks.route`).

A form in several parts says by itself in which of Python's codecs its texts are. Some of these take minutes for a
megabyte, in which nobody else is answered, and forms are read before anybody asks who sent them. Our pages send none.
"""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surveil.errors import SurveilError
from surveil.web.problems import problem, status_of
from surveil.web.root import path_of
from surveil.web.visitors import Door

BODY_BYTES_MAX: Final = 1024 * 1024
"""As large as the largest message that a dispatcher takes."""
STRANGERS_BYTES_MAX: Final = 16 * 1024
"""A link's key and a word of a form are far shorter."""
HOOKS: Final = "/hooks/"
_SENTENCE: Final = f"The request's body has more than {BODY_BYTES_MAX} bytes, which are the most."
_TOO_LARGE: Final = 413
_PARTS: Final = b"multipart/"
_IN_PARTS: Final = (
    "A body in parts is read by nobody here: send a form as `application/x-www-form-urlencoded`, and anything else as "
    "`application/json`."
)
_UNREADABLE: Final = 415


class Limits:
    """Refuses bodies in parts, and those that are too large for whoever sends them, whether they say so at once or go
    on and on.
    """

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name == b"content-type" and _PARTS in value.lower() for name, value in scope["headers"]):
            await problem(_UNREADABLE, _IN_PARTS)(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        length = int(said) if said.isdigit() else 0
        if length > BODY_BYTES_MAX:
            await problem(_TOO_LARGE, _SENTENCE)(scope, receive, send)
            return
        is_hook = path_of(HTTPConnection(scope)).startswith(HOOKS)
        most, taken = BODY_BYTES_MAX if is_hook else STRANGERS_BYTES_MAX, 0
        if length > most:
            why = await self._unknown(scope)
            if why is not None:
                await problem(status_of(why), str(why))(scope, receive, send)
                return
            most = BODY_BYTES_MAX

        async def counted() -> Message:
            nonlocal most, taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise HTTPException(_TOO_LARGE, _SENTENCE)
            if taken > most:
                why = await self._unknown(scope)
                if why is not None:
                    raise HTTPException(status_of(why), str(why))
                most = BODY_BYTES_MAX
            return message

        await self._app(scope, counted, send)

    async def _unknown(self, scope: Scope) -> SurveilError | None:
        """Why whoever sends this may not send much; None where they may."""
        try:
            (await self._door.visitor(HTTPConnection(scope))).require_known()
        except SurveilError as error:
            return error
        return None
