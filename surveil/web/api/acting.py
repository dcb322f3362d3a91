"""Routes that change something: each is a wish that the dispatcher fulfils, and is answered once that is on disk.

What belongs here: requests to wishes. What does not: whether a wish makes sense (`surveil.answer.wishes`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field

from surveil.answer.arguments import NAME_CHARACTERS_MAX, NAMES_MAX
from surveil.web.api.asking import Asked, BuildNumber, Document, Key, Runs
from surveil.web.books import Books
from surveil.web.ids import uuid_of
from surveil.web.routes import api_router
from surveil.web.submitting import mid_of

router = api_router("acting")

_Reason = Annotated[str, Field(max_length=500, description="why, for whoever wonders later")]
_JobName = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX)]
_Jobs = Annotated[list[_JobName], Field(max_length=NAMES_MAX, description="only these jobs")]


class Some(BaseModel):
    """Jobs of a build; all of it where none is named."""

    model_config = ConfigDict(extra="forbid")

    jobs: _Jobs = []
    reason: _Reason = ""


class Again(BaseModel):
    """Which jobs are to run again: all, those that failed, or those that are named, each with all that need it."""

    model_config = ConfigDict(extra="forbid")

    jobs: _Jobs = []
    failed: bool = False


class Order(BaseModel):
    """Why a runner is ordered."""

    model_config = ConfigDict(extra="forbid")

    reason: _Reason = ""


@router.post("/builds/{build}/cancel")
async def cancel(books: Asked, build: BuildNumber, visitor: Runs, some: Some | None = None) -> Document:
    """End a build, or some of its jobs. One that has its verdict stays as it is."""
    return await _jobs_wish(books, "cancel", build, some or Some(), f"cancelled by {visitor.person}")


@router.post("/builds/{build}/unhold")
async def unhold(books: Asked, build: BuildNumber, visitor: Runs, some: Some | None = None) -> Document:
    """Let held jobs of a build be tried again."""
    return await _jobs_wish(books, "unhold", build, some or Some(), f"let go by {visitor.person}")


@router.post("/builds/{build}/approve")
async def approve(books: Asked, build: BuildNumber, _visitor: Runs) -> Document:
    """Let a build of an untrusted ref run."""
    return dict((await books.ask("approve", {"build": build})).body)


@router.post("/builds/{build}/retry", status_code=201)
async def retry(
    request: Request, books: Asked, build: BuildNumber, visitor: Runs, again: Again | None = None, key: Key = ""
) -> Document:
    """Build the same commit again; the answer names the new build."""
    again = again or Again()
    mid = mid_of(visitor, key, "retry", build, again.jobs, again.failed)
    about = {"build": build, "jobs": again.jobs, "failed": again.failed, "mid": mid}
    made = dict((await books.ask("retry", about)).body)
    return {**made, "uuid": uuid_of(made["build"], request.app.state.cluster)}


@router.post("/runners/{name}/{order}")
async def order(
    books: Asked,
    name: Annotated[str, Path(max_length=200)],
    order: Literal["drain", "cordon", "uncordon"],
    visitor: Runs,
    because: Order | None = None,
) -> Document:
    """Order a runner: `drain` lets it finish and stop, `cordon` gives it nothing new, `uncordon` lets it work again."""
    reason = (because or Order()).reason or f"by {visitor.person}"
    await books.ask("runner", {"name": name, "order": order, "reason": reason})
    return {"name": name, "order": order}


async def _jobs_wish(books: Books, what: str, build: int, some: Some, default: str) -> Document:
    about = {"build": build, "jobs": some.jobs, "reason": some.reason or default}
    return dict((await books.ask(what, about)).body)
