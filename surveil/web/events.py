"""What is told as it happens: a stream of server-sent events (WHATWG HTML, 9.2), which a browser asks for again by
itself, from where it was.

What belongs here: the form, the signs of life, and the end. What does not: what is told.

A stream may last for days, so whoever follows is looked up again now and then: one whose pass was ended, or whose role
was taken away or changed, is told nothing more, and finds out by asking again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from math import inf
from typing import Any, Final

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Send

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
    """One of them; `id` is what the browser shows when it asks for what comes after, and where it is empty, the one
    before it stays.
    """

    kind: str
    id: str
    body: Any

    def written(self) -> Written:
        """As it is told; JSON has no line breaks of its own."""
        place = f"id: {self.id}\n" if self.id else ""
        return Written(data=f"event: {self.kind}\n{place}data: {json.dumps(self.body)}\n\n".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The bytes of an event, which may go to many."""

    data: bytes

    def written(self) -> Written:
        """It is."""
        return self


def stream(events: AsyncGenerator[Event | Written], request: Request, visitor: Visitor) -> StreamingResponse:
    """The answer that tells this visitor `events` as they come, until they end, or the server stops, or the visitor
    may no longer what they might.
    """
    return _Stream(events, request, visitor)


class _Stream(StreamingResponse):
    """Events, a comment where there are none for a while, and a problem as the last one.

    Thousands may follow what happens ten times a second: what is seen to now and then has a task of its own, and an
    event passes through nothing but the two that find and send it.
    """

    def __init__(self, events: AsyncGenerator[Event | Written], request: Request, visitor: Visitor) -> None:
        super().__init__((), media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        self._events = events
        self._request = request
        self._visitor = visitor
        self._now = asyncio.get_running_loop().time
        self._said_at = inf
        """When the last of it was sent; while something is on its way it is not quiet."""

    async def stream_response(self, send: Send) -> None:
        """Send all of it; the framework calls this and cancels it once nobody listens."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._say(send, b"retry: 1000\n\n")
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell(send))
                watching = group.create_task(self._watch(send))
                telling.add_done_callback(lambda _: watching.cancel())
                watching.add_done_callback(lambda _: telling.cancel())
        except* SurveilError as errors:
            sentence = str(errors.exceptions[0])
            await self._say(send, Event(kind="problem", id="", body={"detail": sentence}).written().data)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        # Whoever leaves while an event is on its way is let go of now, and not once memory is looked through.
        async with aclosing(self._events) as events:
            async for event in events:
                await self._say(send, event.written().data)

    async def _say(self, send: Send, data: bytes) -> None:
        self._said_at = inf
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self._said_at = self._now()

    async def _watch(self, send: Send) -> None:
        """Give signs of life, until nothing more may be told."""
        stopping: asyncio.Event = self._request.app.state.stopping
        looked_at = self._now()
        while not stopping.is_set():
            again_at = min(self._said_at + LIFE_S, looked_at + LOOK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(again_at):
                    await stopping.wait()
            if self._now() >= looked_at + LOOK_S:
                if not await _is_still(self._request, self._visitor):
                    return
                looked_at = self._now()
            if self._now() >= self._said_at + LIFE_S:
                await self._say(send, b": still here\n\n")


async def _is_still(request: Request, visitor: Visitor) -> bool:
    """Whether this is who they were, with the rights that they had."""
    door: Door = request.app.state.door
    try:
        return await door.visitor(request) == visitor
    except NotAllowedError:
        return False
