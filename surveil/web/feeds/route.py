"""The addresses of badges and feeds.

What belongs here: one route for each format. What does not: what they say (`badge`, `cctray`, `atom`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from surveil.core.model import Status
from surveil.errors import NotFoundError
from surveil.web.books import Books
from surveil.web.feeds import atom, badge, cctray
from surveil.web.feeds.asking import Badged, Seen
from surveil.web.feeds.drawing import drawn
from surveil.web.routes import page_router

router = page_router()

_REPOSITORIES_AT_ONCE: Final = 50
_REPOSITORIES_MAX: Final = 500
"""Of so many repositories it is said how each of their branches stands; with `repo` of any."""

Repo = Annotated[str, Query(max_length=4096, description="this repository, or the end of its name")]
Ref = Annotated[str, Query(max_length=1024, description="this ref, or a branch's short name")]


@router.get("/badge.svg")
async def one_badge(
    request: Request,
    books: Badged,
    repo: Repo,
    ref: Ref,
    label: Annotated[str, Query(min_length=1, max_length=badge.LABEL_CHARACTERS_MAX)] = "build",
) -> Response:
    """How a branch stands, as a picture; of what there is none, it says that it does not know."""
    builds = await _builds(books, {"repo": repo, "ref": ref, "limit": badge.LOOKED_AT})
    made = badge.badge_of(badge.standing_of(builds), label)
    return drawn(
        request, "badge.svg", media_type="image/svg+xml", code=200 if builds else 404, badge=made,
        for_all=request.app.state.public_badges,
    )  # fmt: skip


@router.get("/cc.xml")
async def all_branches(request: Request, books: Seen, repo: Repo | None = None, ref: Ref | None = None) -> Response:
    """How branches stand, in CCTray's words."""
    found = await _repositories(books, repo)
    return drawn(
        request, "cctray.xml", media_type="application/xml", base=_base(request),
        projects=list(cctray.projects_of(found, ref)),
    )  # fmt: skip


@router.get("/feed.atom")
async def feed(
    request: Request, books: Seen, repo: Repo | None = None, ref: Ref | None = None, state: Status | None = None
) -> Response:
    """What came of builds, of all or of those of a repository, a ref, or a verdict."""
    chosen = {"repo": repo, "ref": ref, "state": state and state.value}
    entries = atom.entries_of(await _builds(books, {**chosen, "limit": 2 * atom.ENTRIES}), request.app.state.cluster)
    return drawn(
        request, "feed.xml", media_type="application/atom+xml", base=_base(request), here=str(request.url),
        id=atom.id_of(request.app.state.cluster, chosen), entries=entries,
        title=" ".join(["Builds", *(f"of {value}" for value in chosen.values() if value)]),
        updated=max((each.updated for each in entries), default=atom.NOTHING_YET),
    )  # fmt: skip


async def _builds(books: Books, about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Builds without their jobs, newest first; none where there is no such repository."""
    try:
        found: list[Mapping[str, Any]] = (await books.ask("builds", {**about, "brief": True})).body
    except NotFoundError:
        return []
    return found


async def _repositories(books: Books, repo: str | None) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    while len(found) < _REPOSITORIES_MAX:
        about = {"at": len(found), "limit": _REPOSITORIES_AT_ONCE}
        page: list[Mapping[str, Any]] = (await books.ask("repositories", about)).body
        found += page
        if len(page) < _REPOSITORIES_AT_ONCE:
            break
    return [each for each in found if repo is None or each["repo"] == repo or each["repo"].endswith(f"/{repo}")]


def _base(request: Request) -> str:
    """Where our own addresses begin, for whoever reads this elsewhere."""
    return str(request.base_url).rstrip("/")
