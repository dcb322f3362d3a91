"""Routes that give a log by rows: from anywhere in it, as they come, and those that hold something.

What belongs here: the documents of rows. What does not: where rows begin (`surveil.store.log_rows`), the log as bytes
(`logs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from surveil.errors import NotFoundError, UsageError
from surveil.store.log_rows import ROWS_MAX
from surveil.store.log_search import ERROR, literal
from surveil.web.api.asking import Asked, BuildNumber, Document, JobName, Reads
from surveil.web.api.following import PLACE_FORM, LastPlace, place_of, require_job
from surveil.web.books import Books
from surveil.web.events import stream
from surveil.web.lines import Log, row_view
from surveil.web.routes import api_router
from surveil.web.tidings import Place

router = api_router("logs")

ATTEMPT_MAX = 2**31
FOUND_MAX = 200
BEHIND_MAX = 20

AttemptNumber = Annotated[int, Path(ge=1, le=ATTEMPT_MAX)]


@router.get("/builds/{build}/jobs/{job:path}/attempts/{attempt}/log/rows")
async def rows(
    books: Asked,
    build: BuildNumber,
    job: JobName,
    attempt: AttemptNumber,
    _visitor: Reads,
    *,
    at: Annotated[int | None, Query(ge=0, le=2**53, description="from the row with this byte on")] = None,
    before: Annotated[int | None, Query(ge=0, le=2**53, description="the rows before this byte")] = None,
    line: Annotated[int | None, Query(ge=1, le=2**53, description="from this line on, counted from 1")] = None,
    limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 200,
    numbered: Annotated[bool, Query(description="wait until the line numbers are known")] = False,
) -> Document:
    """Rows of a log, by default the last ones. `number` is that of the first row's line, null while nobody has
    counted so far; `next` is the byte after the last row, and `end` the log's.
    """
    if sum(value is not None for value in (at, before, line)) > 1:
        raise UsageError("Give one of `at`, `before` and `line`: each says where the rows begin or end.")
    return await rows_document(
        books, f"{build}/{job}", attempt, at=at, before=before, line=line, limit=limit, numbered=numbered
    )


@router.get("/builds/{build}/jobs/{job:path}/attempts/{attempt}/log/search")
async def found_rows(
    books: Asked,
    build: BuildNumber,
    job: JobName,
    attempt: AttemptNumber,
    _visitor: Reads,
    text: Annotated[str, Query(max_length=300, description="rows that hold this, in letters of any case")] = "",
    kind: Annotated[Literal["text", "error"], Query(description="`error`: rows that tell of an error")] = "text",
    at: Annotated[int, Query(ge=0, le=2**53, description="from this byte on")] = 0,
    limit: Annotated[int, Query(ge=1, le=FOUND_MAX)] = 50,
) -> Document:
    """Rows that hold something, in a bounded part of the log; `next` is where to go on, null at the log's end."""
    if kind == "text" and not text:
        raise UsageError("Give what to look for as `text`, or `kind=error`.")
    log, _ = await _log(books, f"{build}/{job}", attempt)
    found = await log.search(ERROR if kind == "error" else literal(text), at, limit)
    documents = [{**row_view(row), "number": await log.number_of(row.at)} for row in found.rows]
    return {"rows": documents, "next": found.next}


@router.get("/builds/{build}/jobs/{job:path}/log/rows/follow", response_class=StreamingResponse)
async def follow(
    request: Request,
    books: Asked,
    build: BuildNumber,
    job: JobName,
    visitor: Reads,
    *,
    attempt: Annotated[int | None, Query(ge=1, le=ATTEMPT_MAX)] = None,
    at: Annotated[int, Query(ge=0, le=2**53, description="from this row of that attempt on")] = 0,
    only: Annotated[bool, Query(description="end with this attempt")] = False,
    behind: Annotated[
        list[Annotated[str, Field(json_schema_extra={**PLACE_FORM})]],
        Query(max_length=BEHIND_MAX, description="places in logs of earlier attempts that are not whole"),
    ] = [],  # noqa: B006  # the framework's way to say so
    last: LastPlace = "",
) -> StreamingResponse:
    """Rows as they come: events of kind `rows`, and `end`. An `open` row comes again, as a whole, once there is more
    of it. It goes on to the attempts that follow, unless only this one is wanted; what comes late of earlier ones,
    because their runner was away, is told as well.
    """
    earlier = tuple(Place(attempt=number, at=byte) for number, byte in map(place_of, behind))
    if last:
        attempt, at = place_of(last)
    else:
        await require_job(books, f"{build}/{job}", attempt)
    place = Place(attempt=attempt or 0, at=at if attempt else 0, behind=earlier)
    return stream(books.tidings.follow(f"{build}/{job}", place, only=only), request, visitor)


async def rows_document(
    books: Books,
    job: str,
    attempt: int,
    *,
    limit: int,
    at: int | None = None,
    before: int | None = None,
    line: int | None = None,
    numbered: bool = False,
) -> dict[str, Any]:
    """A page of rows as a document; the last ones where no place is named. Raises NotFoundError."""
    log, about = await _log(books, job, attempt)
    if line is not None:
        at = await log.start_of(line)
        if at is None:
            await log.counted()
            at = await log.start_of(line)
        if at is None:
            raise NotFoundError(f"Attempt {attempt} at {job} has no line {line}.")
    elif numbered:
        await log.counted()
    page = await (log.rows_before(before, limit) if at is None else log.rows_from(at, limit))
    first = page.rows[0].at if page.rows else page.length
    return {
        "attempt": attempt,
        "runner": about["runner"],
        "steps": about["steps"],
        "missing": about["missing"],
        "rows": [row_view(row) for row in page.rows],
        "number": await log.number_of(first),
        "at": first,
        "next": page.rows[-1].end if page.rows else page.length,
        "end": page.length,
        "damaged": page.damaged,
    }


async def _log(books: Books, job: str, attempt: int) -> tuple[Log, Mapping[str, Any]]:
    about = (await books.ask("log", {"job": job, "attempt": attempt, "limit": 1})).body
    if not about["exists"]:
        raise NotFoundError(f"Job {job} has no attempt {attempt} yet.")
    return books.lines.log(job, attempt), about
