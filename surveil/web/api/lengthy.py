"""Answers that take long: the bytes of a log or of an artifact, for as long as whoever fetches them may see its build.

What belongs here: looking again, while bytes are sent, whether somebody still may. What does not: the bytes (`logs`,
`reading`), and streams of events, which have signs of life and an end of their own (`surveil.web.events`).

A gigabyte for somebody far away takes an hour. A pass that is ended meanwhile, or a role that is taken away, has ended
for this as well: the answer ends before it is whole, and whoever asks again is told why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from fastapi import Request

from surveil.web.own import OwnBooks
from surveil.web.rights import Scope
from surveil.web.visitors import Door

LOOK_S: Final = 15.0
"""So long somebody may still be sent something whose right to it has ended, as with events."""


async def while_allowed(pieces: AsyncGenerator[bytes], request: Request, build: int) -> AsyncIterator[bytes]:
    """These pieces, as long as whoever asks may see this build. Raises NotAllowedError and NotFoundError."""
    now = asyncio.get_running_loop().time
    looked_at = now()
    async with aclosing(pieces):
        async for piece in pieces:
            if now() >= looked_at + LOOK_S:
                await _require_still(request, build)
                looked_at = now()
            yield piece


async def _require_still(request: Request, build: int) -> None:
    door: Door = request.app.state.door
    visitor = await door.visitor(request)
    visitor.require_some(Scope.READ)
    await OwnBooks(request.app.state.books, visitor).require_build(build)
