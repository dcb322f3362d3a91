"""Routes about webhooks: for which repositories they may come, and what they may ask for.

What belongs here: requests to what is kept of them. What does not: webhooks that come (`surveil.web.hooks`).

A secret is written here and never read: whoever sets one has it already.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from surveil.answer.auditing import What
from surveil.core.spelling import DURATION_MS_MAX
from surveil.mirror.address import ADDRESS_CHARS_MAX
from surveil.web.api.asking import Administers, Document
from surveil.web.hooks.receiving import Receiver
from surveil.web.hooks.secrets import OVERLAP_MS, SECRET_CHARACTERS_MAX, HookSecrets
from surveil.web.routes import api_router
from surveil.web.visitors import Door

router = api_router("keeping")

_Repo = Annotated[str, Field(min_length=1, max_length=ADDRESS_CHARS_MAX, description="as its observer watches it")]


class Proving(BaseModel):
    """The secret with which a forge proves its webhooks for a repository; how long the one before stays good."""

    model_config = ConfigDict(extra="forbid")

    repo: _Repo
    secret: Annotated[str, Field(max_length=SECRET_CHARACTERS_MAX)]
    overlap_ms: Annotated[int, Field(ge=0, le=DURATION_MS_MAX)] = OVERLAP_MS


class Allowed(BaseModel):
    """What webhooks for a repository may ask for: that it is looked at, or that builds are built again as well."""

    model_config = ConfigDict(extra="forbid")

    repo: _Repo
    may: Literal["look", "retry"]


@router.get("/hooks")
async def hooks(request: Request, _visitor: Administers) -> list[Document]:
    """The repositories that webhooks may come for, and when one came last."""
    secrets, door = _kept(request)
    return await asyncio.to_thread(secrets.views, door.now())


@router.put("/hooks")
async def set_secret(request: Request, visitor: Administers, proving: Proving) -> Document:
    """Set the secret of webhooks for a repository. Sent twice, the second takes the place of the one before as well."""
    secrets, door = _kept(request)
    await door.note(visitor, What.HOOK, proving.repo)
    await asyncio.to_thread(secrets.set, proving.repo, proving.secret, now=door.now(), overlap_ms=proving.overlap_ms)
    return await asyncio.to_thread(secrets.view, proving.repo, door.now())


@router.post("/hooks/allow")
async def allow(request: Request, visitor: Administers, allowed: Allowed) -> Document:
    """Say what webhooks for a repository may ask for."""
    secrets, door = _kept(request)
    await door.note(visitor, What.HOOK_ALLOW, allowed.repo, detail=allowed.may)
    await asyncio.to_thread(secrets.allow, allowed.repo, retry=allowed.may == "retry")
    return {"repo": allowed.repo, "may": allowed.may}


@router.delete("/hooks", status_code=204)
async def forget(
    request: Request,
    visitor: Administers,
    repo: Annotated[str, Query(min_length=1, max_length=ADDRESS_CHARS_MAX, description="as its secret was set")],
) -> Response:
    """Take no more webhooks for a repository."""
    secrets, door = _kept(request)
    await door.note(visitor, What.HOOK_FORGET, repo)
    await asyncio.to_thread(secrets.forget, repo)
    return Response(status_code=204)


def _kept(request: Request) -> tuple[HookSecrets, Door]:
    receiver: Receiver = request.app.state.receiver
    return receiver.secrets, request.app.state.door
