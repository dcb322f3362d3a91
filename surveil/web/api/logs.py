"""Routes that give an attempt's log as it is: bytes, whole or in ranges, or its last lines.

What belongs here: bytes. What does not: following what is still to come (`following`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from surveil.errors import InfrastructureError
from surveil.protocol import CHUNK_BYTES_MAX
from surveil.store.logs import TAIL_LINES_MAX
from surveil.web.api.asking import Asked, BuildNumber, JobName, Reads
from surveil.web.api.lengthy import while_allowed
from surveil.web.books import Books
from surveil.web.headers import SANDBOXED
from surveil.web.routes import api_router

router = api_router("logs")

_RANGE: Final = re.compile(r"bytes=(?:(\d{1,16})-(\d{1,16})?|-(\d{1,16}))")


@router.get("/builds/{build}/jobs/{job:path}/attempts/{attempt}/log", response_class=Response)
async def log(
    request: Request,
    books: Asked,
    build: BuildNumber,
    job: JobName,
    attempt: int,
    _visitor: Reads,
    tail: Annotated[int | None, Query(ge=1, le=TAIL_LINES_MAX, description="only the last so many lines")] = None,
    wanted: Annotated[str, Header(alias="Range", max_length=60)] = "",
) -> Response:
    """What the steps of an attempt printed, so far; a `Range` of bytes if one is asked for."""
    about = {"job": f"{build}/{job}", "attempt": attempt}
    headers = {"content-security-policy": SANDBOXED, "accept-ranges": "bytes"}
    if tail is not None:
        found = await books.ask("log", {**about, "tail_lines": tail})
        return Response(found.data, media_type="text/plain; charset=utf-8", headers=headers)
    end = (await books.ask("log", {**about, "limit": 1})).body["end"]
    start, stop = _range(wanted, end)
    if wanted and start >= stop:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{end}"})
    part = wanted and (start, stop) != (0, end)
    if part:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{end}"
    headers["content-length"] = str(stop - start)
    return StreamingResponse(
        while_allowed(_bytes(books, about, start, stop), request, build),
        status_code=206 if part else 200,
        media_type="text/plain; charset=utf-8",
        headers=headers,
    )


def _range(wanted: str, end: int) -> tuple[int, int]:
    """The bytes that a `Range` names, of a log with `end` bytes; all of it where it names none that is understood."""
    found = _RANGE.fullmatch(wanted.strip())
    if found is None:
        return 0, end
    if found[3] is not None:
        return max(0, end - int(found[3])), end
    return int(found[1]), end if found[2] is None else min(end, int(found[2]) + 1)


async def _bytes(books: Books, about: dict[str, object], at: int, stop: int) -> AsyncGenerator[bytes]:
    while at < stop:
        found = await books.ask("log", {**about, "at": at, "limit": min(CHUNK_BYTES_MAX, stop - at)})
        if not found.data:
            raise InfrastructureError("The log is shorter by now than it was when this began: ask again.")
        yield found.data
        at += len(found.data)
