"""What is told as it happens: a stream of server-sent events (WHATWG HTML, 9.2), which a browser asks for again by
itself, from where it was.

What belongs here: the form, the signs of life, and the end. What does not: what is told.

A stream may last for days, so whoever follows is looked up again now and then: one whose pass was ended, or whose role
was taken away or changed, is told nothing more, and finds out by asking again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import Request
from fastapi.responses import StreamingResponse

from surveil.errors import NotAllowedError, SurveilError
from surveil.frozen import dataclass
from surveil.web.visitors import Door, Visitor

LIFE_S: Final = 15.0
"""A stream that says nothing for longer is taken for dead by whatever stands between."""
LOOK_S: Final = 15.0
"""So long somebody may still be told something whose right to it has ended."""
MEDIA_TYPE: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of them; `id` is what the browser shows when it asks for what comes after."""

    kind: str
    id: str
    body: Any

    def written(self) -> Written:
        """As it is told; JSON has no line breaks of its own."""
        return Written(data=f"event: {self.kind}\nid: {self.id}\ndata: {json.dumps(self.body)}\n\n".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The bytes of an event, which may go to many."""

    data: bytes

    def written(self) -> Written:
        """It is."""
        return self


def stream(events: AsyncIterator[Event | Written], request: Request, visitor: Visitor) -> StreamingResponse:
    """The answer that tells this visitor `events` as they come, until they end, or the server stops, or the visitor
    may no longer what they might.
    """
    told = _told(events, request, visitor)
    return StreamingResponse(told, media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})


async def _told(events: AsyncIterator[Event | Written], request: Request, visitor: Visitor) -> AsyncIterator[bytes]:
    """Events, a comment where there are none for a while, and a problem as the last one."""
    stopping: asyncio.Event = request.app.state.stopping
    now = asyncio.get_running_loop().time
    ending = asyncio.create_task(stopping.wait())
    coming: asyncio.Task[Event | Written | None] = asyncio.create_task(_next(events))
    yield b"retry: 1000\n\n"
    looked_at = said_at = now()
    try:
        while not stopping.is_set():
            again_s = min(said_at + LIFE_S, looked_at + LOOK_S) - now()
            await asyncio.wait((coming, ending), timeout=max(0.0, again_s), return_when=asyncio.FIRST_COMPLETED)
            if now() >= looked_at + LOOK_S:
                if not await _is_still(request, visitor):
                    return
                looked_at = now()
            if coming.done():
                event = coming.result()
                if event is None:
                    return
                yield event.written().data
                coming = asyncio.create_task(_next(events))
            elif now() >= said_at + LIFE_S:
                yield b": still here\n\n"
            else:
                continue
            said_at = now()
    except SurveilError as error:
        yield Event(kind="problem", id="", body={"detail": str(error)}).written().data
    finally:
        for task in (coming, ending):
            task.cancel()
        await asyncio.gather(coming, ending, return_exceptions=True)


async def _is_still(request: Request, visitor: Visitor) -> bool:
    """Whether this is who they were, with the rights that they had."""
    door: Door = request.app.state.door
    try:
        return await door.visitor(request) == visitor
    except NotAllowedError:
        return False


async def _next(events: AsyncIterator[Event | Written]) -> Event | Written | None:
    return await anext(events, None)
