"""What every answer tells the browser: to load and run nothing but ours, and to be shown in nobody's frame.

What belongs here: the headers, and putting them on every answer. What does not: cookies (`visitors`).
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SANDBOXED: Final = "default-src 'none'; sandbox"
"""For bytes that jobs made: whatever they are, they run nothing and belong to nobody."""

ON_EVERY_ANSWER: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # With `no-referrer` a browser hides from ourselves as well where a form comes from.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_AS_SENT: Final = tuple((name.encode(), value.encode()) for name, value in ON_EVERY_ANSWER.items())


class Headers:
    """Puts them on every answer that has none of its own of that name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message.get("headers", ()))
                named = {name.lower() for name, _ in headers}
                headers += [each for each in _AS_SENT if each[0] not in named]
            await send(message)

        await self._app(scope, receive, with_headers)
