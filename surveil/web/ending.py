"""Answers that had begun when it turned out that they cannot go on: an artifact or a log that was taken away meanwhile.

What belongs here: ending such an answer so that whoever asked sees that it is not whole. What does not: what is said
while nothing was sent (`problems`).

A status is sent once, and it was a good one. So the connection ends before the answer does, and the process's own log
says why in a sentence: it is no defect, and a hundred lines for each download would fill a disk.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from surveil.errors import SurveilError
from surveil.say import Voice

_SHOWN: Final = 200

voice = Voice("web")


class Ending:
    """Lets the server end the connection; it does so for an answer that is not complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            # So the framework says that an answer for this error can no longer be sent.
            if not isinstance(error.__cause__, SurveilError):
                raise
            voice.warning("an answer ended before it was whole", path=scope["path"][:_SHOWN], why=str(error.__cause__))
