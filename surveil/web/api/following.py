"""Routes that tell what happens as it happens: the journal, and the log of a job.

What belongs here: which events there are. What does not: their form (`surveil.web.events`).

An event's id says from where to go on, so that a connection that breaks costs nothing: the browser asks again with the
last id that it has seen, and gets exactly what comes after.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from surveil.client import LogPiece
from surveil.client.following import follow_journal, follow_log
from surveil.errors import UsageError
from surveil.store.logs import TAIL_LINES_MAX
from surveil.web.api.asking import Asked, BuildNumber, JobName, Reads
from surveil.web.books import Books
from surveil.web.events import Event, stream
from surveil.web.routes import api_router

router = api_router("following")

_PLACE: Final = re.compile(r"([1-9][0-9]{0,9})\.([0-9]{1,16})")
PLACE_FORM: Final = {"pattern": rf"^{_PLACE.pattern}$"}
"""How a place in a log is written, for the description; whoever writes another one is told in a sentence."""
_OR_NONE: Final = {"pattern": rf"^({_PLACE.pattern})?$"}
_AFTER: Final = "go on after this event"

LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=40, description=_AFTER)]
LastPlace = Annotated[
    str, Header(alias="Last-Event-ID", max_length=40, description=_AFTER, json_schema_extra={**_OR_NONE})
]


@router.get("/events", response_class=StreamingResponse)
async def events(
    request: Request,
    books: Asked,
    visitor: Reads,
    build: Annotated[int | None, Query(ge=1, le=2**53, description="only what happens to this build")] = None,
    after: Annotated[int, Query(ge=-1, le=2**53, description="go on after this position; -1 is from now on")] = -1,
    last: LastId = "",
) -> StreamingResponse:
    """Lines of the journal: events of kind `note`."""
    position = int(last) if last.isascii() and last.isdecimal() else after
    return stream(_notes(books, position, build), request, visitor)


@router.get("/builds/{build}/jobs/{job:path}/log/follow", response_class=StreamingResponse)
async def follow(
    request: Request,
    books: Asked,
    build: BuildNumber,
    job: JobName,
    visitor: Reads,
    attempt: Annotated[int | None, Query(ge=1, le=2**31)] = None,
    at: Annotated[int, Query(ge=0, le=2**53, description="from this byte of that attempt on")] = 0,
    tail: Annotated[int | None, Query(ge=1, le=TAIL_LINES_MAX, description="begin with the last so many lines")] = None,
    last: LastPlace = "",
) -> StreamingResponse:
    """The log of a job, of this attempt or of the newest and all that follow it: events of kind `piece`, and `end`."""
    if last:
        attempt, at = place_of(last)
        tail = None
    else:
        await require_job(books, f"{build}/{job}", attempt)
    pieces = follow_log(books, f"{build}/{job}", attempt=attempt, at=at, tail_lines=tail)
    return stream(_pieces(pieces), request, visitor)


async def require_job(books: Books, job: str, attempt: int | None) -> None:
    """See that there is what somebody wants to follow, while there still is a status to say otherwise. Whoever comes
    back was told so before. Raises NotFoundError.
    """
    await books.ask("log", {"job": job, "attempt": attempt, "limit": 1})


def place_of(last: str) -> tuple[int, int]:
    """The attempt and the byte of its log that an event's id names. Raises UsageError."""
    place = _PLACE.fullmatch(last)
    if place is None:
        raise UsageError(f"`Last-Event-ID` is {last!r}, and must be one that this stream sent, like `1.2048`.")
    return int(place[1]), int(place[2])


async def _notes(books: Books, after: int, build: int | None) -> AsyncGenerator[Event]:
    async for note in follow_journal(books, after=after, build=build):
        yield Event(kind="note", id=str(note["position"]), body=note)


async def _pieces(pieces: AsyncIterator[LogPiece]) -> AsyncGenerator[Event]:
    """Pieces of a log as text. A character that two pieces share is told with the second, so that `at` and `next` of
    each are whole characters and the bytes between are all there are.
    """
    held, held_of = b"", (0, 0)
    place = "1.0"
    async for piece in pieces:
        if held and held_of != (piece.attempt, piece.at):
            held = b""
        data = held + piece.data
        at = piece.at - len(held)
        cut = _whole_characters(data)
        held, held_of = data[cut:], (piece.attempt, piece.at + len(piece.data))
        place = f"{piece.attempt}.{at + cut}"
        body = {
            "attempt": piece.attempt, "at": at, "next": at + cut, "text": data[:cut].decode("utf-8", "replace"),
            "runner": piece.runner, "steps": piece.steps, "damaged": piece.damaged, "missing": piece.missing or None,
        }  # fmt: skip
        yield Event(kind="piece", id=place, body=body)
    yield Event(kind="end", id=place, body={})


def _whole_characters(data: bytes) -> int:
    """How many bytes there are before a character that has only begun."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # noqa: PLR2004  # UTF-8: what does not continue a character begins one.
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1  # noqa: PLR2004
            return len(data) - back if needed > back else len(data)
    return len(data)
