"""The page of a log: its last rows as HTML, and what the script of the page needs to show all others.

What belongs here: which rows a page shows that is read without a script. What does not: the rows themselves
(`surveil.web.lines`), and the view in the browser (`static/log`).
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response

from surveil.errors import NotFoundError
from surveil.screen.terminal import SafeOutput
from surveil.web.api import PREFIX
from surveil.web.api.asking import Asked, BuildNumber, JobName
from surveil.web.api.rows import ATTEMPT_MAX, rows_document
from surveil.web.books import Books
from surveil.web.lines import COUNT_BYTES, Log
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.pages.shown import part
from surveil.web.routes import page_router

router = page_router()

ROWS: Final = 100
"""More than a screen has; the script of the page fetches what it needs beyond them, once these are seen."""
TEXT_CHARACTERS_MAX: Final = 40_000
"""What a page shows of a log without a script; whoever wants more turns pages."""
COUNTING_S: Final = 0.2
"""A page waits so long for line numbers, where they can be had in that time; a log of a gigabyte has none at first."""
ATTEMPTS_NEAR: Final = 10
"""So many attempts before and after the one that is shown are led to, and the first and the last."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")


@router.get("/builds/{build}/jobs/{job:path}/attempts/{attempt}")
async def attempt_log(
    request: Request,
    books: Asked,
    build: BuildNumber,
    job: JobName,
    attempt: Annotated[int, Path(ge=1, le=ATTEMPT_MAX)],
    visitor: Looks,
    at: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
) -> Response:
    """The log of one attempt."""
    found = await _job(books, build, job)
    if all(each["number"] != attempt for each in found["attempts"]):
        raise NotFoundError(f"Job {job} of build {build} has no attempt {attempt}: its newest is {found['attempt']}.")
    rows = await _rows(books, f"{build}/{job}", attempt, at, before)
    return _page(request, visitor, build, found, number=attempt, rows=rows, newest=False)


@router.get("/builds/{build}/jobs/{job:path}")
async def newest_log(request: Request, books: Asked, build: BuildNumber, job: JobName, visitor: Looks) -> Response:
    """The log of the newest attempt, going on to those that follow it."""
    found = await _job(books, build, job)
    number = found["attempt"]
    rows = await _rows(books, f"{build}/{job}", number, None, None) if number else None
    return _page(request, visitor, build, found, number=number, rows=rows, newest=True)


def _page(
    request: Request, visitor: Looks, build: int, job: dict[str, Any], *, number: int, rows: Any, newest: bool
) -> Response:
    below = f"/builds/{build}/jobs/{part(job['name'])}"
    return page(
        request, "log.html", visitor, title=f"Log of {job['name']}, build {build}", build={"id": build}, job=job,
        number=number, rows=rows, newest=newest, api=f"{PREFIX}{below}", address_of_attempt=f"{below}/attempts",
        attempts=_near(job["attempts"], number),
    )  # fmt: skip


def _near(attempts: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Attempts to go to: a job may have been tried again any number of times."""
    ends = (attempts[0], attempts[-1]) if attempts else ()
    return [each for each in attempts if each in ends or abs(each["number"] - number) <= ATTEMPTS_NEAR]


async def _job(books: Books, build: int, name: str) -> dict[str, Any]:
    document = await books.with_waiting(await books.build(build, logs=False))
    for each in document["jobs"]:
        if each["name"] == name:
            return dict(each)
    raise NotFoundError(f"Build {build} has no job {name!r}.")


async def _rows(books: Books, job: str, attempt: int, at: int | None, before: int | None) -> dict[str, Any]:
    """Rows as plain text with their numbers, as many as a page bears."""
    found = await rows_document(books, job, attempt, at=at, before=before, limit=ROWS)
    if found["number"] is None and found["end"] <= COUNT_BYTES:
        found["number"] = await _number(books.lines.log(job, attempt), found["at"])
    kept = _fitting(found["rows"], from_end=at is None)
    if not kept:
        return {**found, "rows": []}
    first = found["rows"].index(kept[0])
    number = found["number"]
    if number is not None:
        number += sum(row["begins"] for row in found["rows"][1 : first + 1])
    for row in kept:
        if number is not None and row["begins"] and row is not kept[0]:
            number += 1
        row["number"] = number if row["begins"] else None
        row["text"] = _plain(row["text"])
    return {**found, "rows": kept, "at": kept[0]["at"], "next": kept[-1]["end"]}


async def _number(log: Log, at: int) -> int | None:
    try:
        async with asyncio.timeout(COUNTING_S):
            await log.counted()
            return await log.number_of(at)
    except TimeoutError:
        return None


def _fitting(rows: list[dict[str, Any]], *, from_end: bool) -> list[dict[str, Any]]:
    """As many of the last, or of the first, rows as a page bears; at least one."""
    kept: list[dict[str, Any]] = []
    left = TEXT_CHARACTERS_MAX
    for row in reversed(rows) if from_end else rows:
        left -= len(row["text"])
        if kept and left < 0:
            break
        kept.append(row)
    return kept[::-1] if from_end else kept


def _plain(text: str) -> str:
    """A row without colours, and without whatever else a terminal would obey."""
    if text.replace("\t", "").isprintable():
        return text
    safe = SafeOutput()
    cleaned = safe.feed(text.encode("utf-8", "replace")) + safe.finish()
    return _COLOUR.sub("", cleaned.decode("utf-8", "replace"))
