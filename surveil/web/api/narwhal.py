"""The routes of narwhal's dispatcher, for programs that ask one: `/runner`, `/commit` and `/health`.

What belongs here: these shapes. What does not: what they come to, which is what our own routes do.

A runner of ours connects by itself with a token, so to register one makes the token that it joins with.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from surveil.answer.wishes import EXPIRES_MS_DEFAULT, EXPIRES_MS_MAX
from surveil.mirror.address import ADDRESS_CHARS_MAX
from surveil.web.api.asking import Administers, Asked, Document, Key, Reads, Runs
from surveil.web.api.submitting import submit
from surveil.web.ids import uuid_of
from surveil.web.routes import api_router
from surveil.web.submitting import Wanted

router = api_router("narwhal", prefix="")


class Joining(BaseModel):
    """A runner that is to join."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=100)] = []
    expires_ms: Annotated[int, Field(ge=1000, le=EXPIRES_MS_MAX)] = EXPIRES_MS_DEFAULT


class Leaving(BaseModel):
    """A runner that is let in no more, by its name or key."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]


class CommitRepository(BaseModel):
    """A watched repository, by its address or the end of it."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=ADDRESS_CHARS_MAX)]
    branch: Annotated[str | None, Field(max_length=1024)] = None


class Commit(BaseModel):
    """A commit to be built, by the beginning of its name or all of it."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=64)]
    repository: CommitRepository


@router.get("/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/runner")
async def runners(books: Asked, _visitor: Reads) -> list[Document]:
    """The pool of runners."""
    return await books.listed("runners")


@router.post("/runner", status_code=201)
async def register(books: Asked, _visitor: Administers, joining: Joining | None = None) -> Document:
    """A token with which one runner joins: `surveil runner --join TOKEN`."""
    joining = joining or Joining()
    about = {"role": "runner", "labels": joining.labels, "expires_ms": joining.expires_ms, "uses": 1}
    return dict((await books.ask("token_create", about)).body)


@router.delete("/runner", status_code=204)
async def remove(books: Asked, visitor: Administers, leaving: Leaving) -> Response:
    """Let a runner in no more; its key is worthless from now on."""
    await books.ask("peer_revoke", {"name": leaving.name, "role": "runner", "reason": f"removed by {visitor.person}"})
    return Response(status_code=204)


@router.post("/commit", status_code=201)
async def commit(request: Request, books: Asked, visitor: Runs, commit: Commit, key: Key = "") -> Document:
    """Have a commit built now."""
    wanted = Wanted(repo=commit.repository.name, ref=commit.repository.branch, sha=commit.id)
    number = await submit(request, books, visitor, wanted, key)
    return {"id": number, "uuid": uuid_of(number, request.app.state.cluster)}
