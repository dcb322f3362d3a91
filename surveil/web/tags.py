"""Tags of documents, by which programs that have one already are spared another copy.

What belongs here: giving each document of the API its tag, and answering 304 where the asker has it. What does not: the
documents, and pages, on which each session has a word of its own.

A tag follows from the bytes of the document, so it is another one exactly when they are, whatever changed them, and
whoever looks on.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surveil.web.api import PREFIX
from surveil.web.ready import Written, written
from surveil.web.root import path_in

_JSON: Final = b"application/json"
_KEPT: Final = b"private, no-cache"
"""A program may keep what it was sent, and asks each time whether it is still so. Browsers keep nothing."""
_BY_TOKEN: Final = b"bearer "
"""A browser says who it is as well, to a proxy that asks for a name and a password."""
_OF_BODIES: Final = frozenset({b"content-type", b"content-length"})


def sent(document: Written) -> Response:
    """The answer with a document whose tag is known."""
    return Response(document.body, media_type="application/json", headers={"etag": document.tag})


class Tags:
    """Puts tags on the documents of the API, and leaves documents out that the asker has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not path_in(scope).startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        begun: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and _is_document(message):
                begun = message
                return
            if begun is not None:
                start, begun = begun, None
                if not message.get("more_body"):
                    start, message = _with_tag(start, message, dict(scope["headers"]))
                await send(start)
            await send(message)

        await self._app(scope, receive, tagged)


def _is_document(start: Message) -> bool:
    return start["status"] == 200 and any(  # noqa: PLR2004  # HTTP's own number
        name == b"content-type" and value.startswith(_JSON) for name, value in start["headers"]
    )


def _with_tag(start: Message, whole: Message, asked: dict[bytes, bytes]) -> tuple[Message, Message]:
    """The answer with its tag, or the one that says that the asker has it."""
    headers = list(start["headers"])
    tag = next((value for name, value in headers if name == b"etag"), None)
    if tag is None:
        tag = written(whole.get("body", b"")).tag.encode()
        headers.append((b"etag", tag))
    if asked.get(b"authorization", b"").lower().startswith(_BY_TOKEN):
        headers.append((b"cache-control", _KEPT))
    if not _has(asked.get(b"if-none-match", b""), tag):
        return {**start, "headers": headers}, whole
    headers = [(name, value) for name, value in headers if name not in _OF_BODIES]
    return {**start, "status": 304, "headers": headers}, {**whole, "body": b""}


def _has(shown: bytes, tag: bytes) -> bool:
    """Whether the asker shows this tag, or says that any is as good. A proxy may have weakened it on the way."""
    return bool(shown) and any(each.strip().removeprefix(b"W/") in {tag, b"*"} for each in shown.split(b","))
