"""Routes about what is kept for later: secrets, join tokens, and what people and programs come in with.

What belongs here: requests to questions and wishes. What does not: whether these make sense (`surveil.answer`).

Secrets are written and listed, and no route reads one. A token is shown once, to whoever makes it.
"""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from surveil.answer.secrets import PATTERN_CHARACTERS_MAX, VALUE_BYTES_MAX
from surveil.answer.wishes import EXPIRES_MS_DEFAULT, EXPIRES_MS_MAX, USES_MAX
from surveil.web.api.asking import Administers, Asked, Document, Holds, Keeps, Reads
from surveil.web.links import pass_view
from surveil.web.routes import api_router
from surveil.web.visitors import Door

router = api_router("keeping")

_Pattern = Annotated[str, Field(max_length=PATTERN_CHARACTERS_MAX)]
_ForWhich = Annotated[str, Query(max_length=PATTERN_CHARACTERS_MAX, description="a pattern; empty for all")]
_Name = Annotated[str, Path(max_length=200)]
_Id = Annotated[str, Path(min_length=1, max_length=100)]


class Kept(BaseModel):
    """A secret's value, or in a Vault its place as PATH#FIELD, and the jobs that it is for; no pattern is all."""

    model_config = ConfigDict(extra="forbid")

    value: Annotated[str, Field(max_length=VALUE_BYTES_MAX)]
    source: Literal["here", "vault"] = "here"
    repo: _Pattern = ""
    ref: _Pattern = ""
    job: _Pattern = ""


class Joining(BaseModel):
    """What may join with a token."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["runner", "observer", "client"] = "runner"
    labels: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=100)] = []
    expires_ms: Annotated[int, Field(ge=1000, le=EXPIRES_MS_MAX)] = EXPIRES_MS_DEFAULT
    uses: Annotated[int, Field(ge=1, le=USES_MAX)] = 1


@router.get("/secrets")
async def secrets(books: Asked, _visitor: Keeps) -> list[Document]:
    """The names of secrets, and which jobs each is for."""
    return await books.listed("secrets")


@router.put("/secrets/{name}")
async def keep(books: Asked, name: _Name, _visitor: Keeps, kept: Kept) -> Document:
    """Keep a secret under this name for these jobs."""
    about = {"name": name, "repo": kept.repo, "ref": kept.ref, "job": kept.job, "source": kept.source}
    value = base64.b64encode(kept.value.encode()).decode()
    return dict((await books.ask("secret_set", {**about, "value": value})).body)


@router.delete("/secrets/{name}", status_code=204)
async def forget(
    books: Asked, name: _Name, _visitor: Keeps, repo: _ForWhich = "", ref: _ForWhich = "", job: _ForWhich = ""
) -> Response:
    """Forget the secret of this name and exactly these patterns."""
    await books.ask("secret_remove", {"name": name, "repo": repo, "ref": ref, "job": job})
    return Response(status_code=204)


@router.get("/join-tokens")
async def join_tokens(books: Asked, _visitor: Administers) -> list[Document]:
    """What machines may join with; what the tokens hold is never shown again."""
    return await books.listed("tokens")


@router.post("/join-tokens", status_code=201)
async def make_join_token(books: Asked, _visitor: Administers, joining: Joining) -> Document:
    """Make a token with which machines join."""
    return dict((await books.ask("token_create", joining.model_dump())).body)


@router.delete("/join-tokens/{token_id}", status_code=204)
async def revoke_join_token(books: Asked, token_id: _Id, _visitor: Administers) -> Response:
    """Make a join token worthless; who joined with it stays."""
    await books.ask("token_revoke", {"id": token_id})
    return Response(status_code=204)


@router.get("/passes")
async def passes(request: Request, visitor: Holds) -> list[Document]:
    """The sessions and API tokens that are still good: one's own, and for an administrator everybody's."""
    door: Door = request.app.state.door
    return [pass_view(each) for each in await door.passes_of(visitor)]


@router.delete("/passes/{pass_id}", status_code=204)
async def end_pass(request: Request, pass_id: _Id, visitor: Holds) -> Response:
    """End a session or an API token: one's own, or for an administrator anybody's."""
    door: Door = request.app.state.door
    await door.end(visitor, pass_id)
    return Response(status_code=204)


@router.get("/schedules")
async def schedules(books: Asked, _visitor: Reads) -> list[Document]:
    """What is built by the clock, and when next."""
    found: list[Document] = (await books.ask("status")).body["schedules"]
    return found


@router.get("/repositories")
async def repositories(
    books: Asked,
    _visitor: Reads,
    repo: Annotated[str | None, Query(max_length=4096, description="only this one, by its address")] = None,
    at: Annotated[int, Query(ge=0, le=10**6, description="so many are left out")] = 0,
) -> list[Document]:
    """How the branches of repositories stand."""
    found: list[Document] = (await books.ask("repositories", {"repo": repo, "at": at})).body
    return found
