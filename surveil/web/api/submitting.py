"""Routes that have a commit built: ours, and the shape of mini-ci's.

What belongs here: requests to what is wanted. What does not: which repository and commit that is, and who may
(`surveil.web.submitting`).
"""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from surveil.mirror.address import ADDRESS_CHARS_MAX
from surveil.web.api import PREFIX
from surveil.web.api.asking import Asked, Document, Key, Runs
from surveil.web.books import Books
from surveil.web.ids import uuid_of
from surveil.web.routes import api_router
from surveil.web.submitting import Submitter, Wanted, mid_of
from surveil.web.visitors import Visitor

router = api_router("acting")

COMMAND_CHARACTERS_MAX = 16_384
_Address = Annotated[str, Field(min_length=1, max_length=ADDRESS_CHARS_MAX)]


class Building(BaseModel):
    """What is to be built: HEAD of a repository, or what a ref points to, or a commit."""

    model_config = ConfigDict(extra="forbid")

    repo: Annotated[_Address | None, Field(description="a watched repository, by its address or the end of it")] = None
    repo_url: Annotated[_Address | None, Field(description="the same, where the answer's `id` is to be a UUID")] = None
    ref: Annotated[str | None, Field(max_length=1024, description="a branch, a tag, or a ref by its full name")] = None
    sha: Annotated[str | None, Field(max_length=64, description="a commit, by the beginning of its name or all")] = None
    inputs: Annotated[
        dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=4096)]],
        Field(max_length=64, description="values for what the pipeline declares under `on.manual.inputs`"),
    ] = {}
    command: Annotated[
        str | None,
        Field(
            min_length=1, max_length=COMMAND_CHARACTERS_MAX,
            description="a shell command instead of the commit's pipeline; it takes the right to `admin`",
        ),
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _one_repository(self) -> Self:
        if (self.repo is None) == (self.repo_url is None):
            raise ValueError("name the repository as `repo` or as `repo_url`, one of them")
        return self


@router.post("/builds", status_code=201)
async def build(
    request: Request, response: Response, books: Asked, visitor: Runs, wanted: Building, key: Key = ""
) -> Document:
    """Have a commit of a watched repository built now. `id` is the build's number, and its UUID for who said
    `repo_url`; every route takes both.
    """
    about = Wanted(
        repo=wanted.repo or wanted.repo_url or "", ref=wanted.ref, sha=wanted.sha, inputs=wanted.inputs,
        command=wanted.command,
    )  # fmt: skip
    number = await submit(request, books, visitor, about, key)
    name = uuid_of(number, request.app.state.cluster)
    response.headers["location"] = f"{PREFIX}/builds/{number}"
    return {"id": number if wanted.repo_url is None else name, "build": number, "uuid": name, "state": "queued"}


async def submit(request: Request, books: Books, visitor: Visitor, wanted: Wanted, key: str) -> int:
    """The number of the build that was made of what is wanted."""
    submitter: Submitter = request.app.state.submitter
    watched = [each["repo"] for each in (await books.ask("status")).body["watching"]]
    commit = await submitter.commit(wanted, visitor, watched, _mid_of(visitor, key, wanted))
    return int((await books.ask("submit", commit)).body["build"])


def _mid_of(visitor: Visitor, key: str, wanted: Wanted) -> str:
    return mid_of(visitor, key, "build", wanted.repo, wanted.ref, wanted.sha, dict(wanted.inputs or {}), wanted.command)
