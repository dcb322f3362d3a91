"""How much anybody may send, and in what form: the body of a request, whoever asks.

What belongs here: refusing what is too large, or what nobody here takes, before it is read. What does not: what an
asker may do (`visitors`).

A form in several parts says by itself in which of Python's codecs its texts are. Some of these take minutes for a
megabyte, in which nobody else is answered, and forms are read before anybody asks who sent them. Our pages send none.
"""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surveil.web.problems import problem

BODY_BYTES_MAX: Final = 1024 * 1024
"""As large as the largest message that a dispatcher takes."""
_SENTENCE: Final = f"The request's body has more than {BODY_BYTES_MAX} bytes, which are the most."
_TOO_LARGE: Final = 413
_PARTS: Final = b"multipart/"
_IN_PARTS: Final = (
    "A body in parts is read by nobody here: send a form as `application/x-www-form-urlencoded`, and anything else as "
    "`application/json`."
)
_UNREADABLE: Final = 415


class Limits:
    """Refuses bodies in parts, and those that are too large, whether they say so at once or go on and on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name == b"content-type" and _PARTS in value.lower() for name, value in scope["headers"]):
            await problem(_UNREADABLE, _IN_PARTS)(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            await problem(_TOO_LARGE, _SENTENCE)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise HTTPException(_TOO_LARGE, _SENTENCE)
            return message

        await self._app(scope, counted, send)
