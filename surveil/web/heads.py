"""Requests for the head of an answer: every address that can be read is asked so as well.

What belongs here: `HEAD`, for all routes at once. What does not: any route, which needs to know only `GET`.

Whoever asks so wants to know whether something is there and how large it is, and is told what `GET` would tell, without
the rest. An answer that comes bit by bit, a log of a gigabyte or a stream without an end, is not even made.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFECT: Final = 500
_OF_ROUTES: Final = ("route", "path_params")


class Heads:
    """Has `HEAD` answered as `GET` is, up to the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        said = asyncio.Event()
        # A copy: the server looks at its own to know that there must be no body.
        asked = {**scope, "method": "GET"}

        def show_route() -> None:
            # Whoever counts answers looks at the request that they know.
            scope.update((name, asked[name]) for name in _OF_ROUTES if name in asked)

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                show_route()
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                said.set()
                if message["status"] < DEFECT:
                    # Nothing more of it is made. A defect goes on, to whoever writes it down.
                    await asyncio.Event().wait()

        answering = asyncio.ensure_future(self._app(asked, receive, send_head))
        waiting = asyncio.ensure_future(said.wait())
        try:
            await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            answering.cancel()
        await asyncio.wait({answering})
        show_route()
        if not answering.cancelled():
            answering.result()
