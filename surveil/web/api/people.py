"""Routes about people: who I am, who is known, and which roles they have.

What belongs here: requests to what is kept of people. What does not: keeping it (`surveil.store.people`), and what
roles allow (`surveil.web.rights`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field

from surveil.store.people import EVERYWHERE, PATTERN_CHARACTERS_MAX, ROLES_MAX, Role
from surveil.web.api.asking import Administers, Document, Holds
from surveil.web.links import person_view
from surveil.web.routes import api_router
from surveil.web.visitors import Door

router = api_router("people")

_Name = Annotated[str, Path(min_length=1, max_length=100)]


class Given(BaseModel):
    """A role, for the repositories that a pattern names; `*` in it stands for anything."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["read", "run", "admin"]
    repo: Annotated[str, Field(min_length=1, max_length=PATTERN_CHARACTERS_MAX)] = EVERYWHERE


class Somebody(BaseModel):
    """The roles of a person, all of them; with `was`, only if these are the ones that were given before."""

    model_config = ConfigDict(extra="forbid")

    roles: Annotated[list[Given], Field(max_length=ROLES_MAX)]
    was: Annotated[list[Given] | None, Field(max_length=ROLES_MAX)] = None


@router.get("/me")
async def me(visitor: Holds) -> Document:
    """Who asks, and what they may do: everywhere, and beyond that in the repositories that patterns name."""
    rights = visitor.rights
    return {
        "person": visitor.person,
        "user": visitor.user,
        "everywhere": rights.everywhere.word if rights.everywhere else None,
        "roles": [{"repo": pattern, "role": scope.word} for pattern, scope in rights.somewhere],
    }


@router.get("/users")
async def users(request: Request, _visitor: Administers) -> list[Document]:
    """Everybody who is known by name."""
    door: Door = request.app.state.door
    return [person_view(each) for each in await door.people()]


@router.put("/users/{name}")
async def put_user(
    request: Request, name: _Name, visitor: Administers, somebody: Somebody, *, new: bool = False
) -> Document:
    """Know somebody, with these roles in place of those that were given before; with `new`, only if nobody is known by
    that name, whoever else adds them at the same time; with `was`, only if somebody is known by it whose roles nobody
    else has changed since they were these. `anybody` stands for whoever comes with
    nothing, and may `read` at most: what it may read is public.
    """
    door: Door = request.app.state.door
    was = None if somebody.was is None else _roles(somebody.was)
    return person_view(await door.put_person(visitor, name, _roles(somebody.roles), new=new, was=was))


@router.delete("/users/{name}")
async def forget_user(request: Request, name: _Name, visitor: Administers) -> Document:
    """Know somebody no more, and end all that they came in with."""
    door: Door = request.app.state.door
    return {"name": name, "ended": await door.forget_person(visitor, name)}


def _roles(given: list[Given]) -> list[Role]:
    return [Role(repo=each.repo, scope=each.role) for each in given]
