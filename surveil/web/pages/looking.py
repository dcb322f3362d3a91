"""Pages about all of it: the overview, repositories, schedules, the pool of runners.

What belongs here: which documents a page shows. What does not: builds (`building`), how documents are read
(`surveil.web.books`), and how they look (the templates).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from surveil.client import VERDICTS
from surveil.core.model import Status
from surveil.errors import SurveilError
from surveil.web.api.asking import Asked
from surveil.web.books import Books
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.rights import Scope
from surveil.web.routes import page_router

router = page_router()

RECENT: Final = 15
RUNNING: Final = 50
"""So many builds that run are looked through for what runners do."""
INCIDENTS: Final = 30
RUNNERS: Final = 50
REPOSITORIES: Final = 15
_OPEN: Final = tuple(state.value for state in Status if state not in VERDICTS)
_AT_WORK: Final = frozenset({"assigned", "running"})


@router.get("/")
async def overview(request: Request, books: Asked, visitor: Looks) -> Response:
    """What runs, what broke and since when, and why something waits."""
    recent = (await books.ask("builds", {"limit": RECENT, "brief": True})).body
    status, away = await _status(books)
    standing = (await books.ask("repositories")).body
    return page(
        request, "overview.html", visitor, title="Overview", status=status, away=away, broken=_broken(standing),
        open=await _open(books, recent),
        recent=[build for build in recent if build["state"] in VERDICTS],
        usual={each["repo"]: each["median_ms"] for each in standing},
    )  # fmt: skip


@router.get("/repositories")
async def repositories(
    request: Request, books: Asked, visitor: Looks, at: Annotated[int, Query(ge=0, le=10_000)] = 0
) -> Response:
    """Every repository with its branches, what was built of it lately, and whether it can be watched."""
    found = (await books.ask("repositories", {"at": at, "limit": REPOSITORIES})).body
    status, away = await _status(books)
    watched = {each["repo"]: each for each in status["watching"]} if status else {}
    built = {each["repo"] for each in found}
    return page(
        request, "repositories.html", visitor, title="Repositories", repositories=found, watched=watched, away=away,
        unbuilt=[] if at or len(found) == REPOSITORIES else [each for each in watched if each not in built],
        following=at + REPOSITORIES if len(found) == REPOSITORIES else None,
    )  # fmt: skip


@router.get("/schedules")
async def schedules(request: Request, books: Asked, visitor: Looks) -> Response:
    """What is built by the clock, and when next."""
    status, away = await _status(books)
    found = sorted(status["schedules"], key=lambda each: each["next_at"] or "~") if status else []
    return page(request, "schedules.html", visitor, title="Schedules", schedules=found, away=away)


@router.get("/runners")
async def runners(
    request: Request, books: Asked, visitor: Looks, at: Annotated[int, Query(ge=0, le=100_000)] = 0
) -> Response:
    """The pool: its load, what it runs, and what happened to it."""
    visitor.require(Scope.READ)
    try:
        found, away = await books.listed("runners"), ""
    except SurveilError as error:
        found, away = [], str(error)
    return page(
        request, "runners.html", visitor, title="Runners", runners=found[at : at + RUNNERS], away=away,
        at_work=await _at_work(books), following=at + RUNNERS if len(found) > at + RUNNERS else None,
        incidents=(await books.ask("incidents", {"limit": INCIDENTS})).body,
    )  # fmt: skip


async def _status(books: Books) -> tuple[dict[str, Any] | None, str]:
    """The installation at a glance, or why nobody knows."""
    try:
        return (await books.ask("status")).body, ""
    except SurveilError as error:
        return None, str(error)


async def _open(books: Books, recent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest builds under way, which may have begun before all of these that are the newest."""
    found = [build for build in recent if build["state"] not in VERDICTS]
    if len(recent) == RECENT:
        for state in _OPEN:
            asked = {"state": state, "limit": RECENT, "before": recent[-1]["id"], "brief": True}
            found += (await books.ask("builds", asked)).body
    return sorted(found, key=lambda build: -build["id"])[:RECENT]


async def _at_work(books: Books) -> dict[str, list[dict[str, Any]]]:
    """By runner's name what it does now."""
    found: dict[str, list[dict[str, Any]]] = {}
    for short in (await books.ask("builds", {"state": "running", "limit": RUNNING})).body:
        build = await books.complete(short)
        for job in build["jobs"]:
            for attempt in job["attempts"]:
                if attempt["state"] in _AT_WORK:
                    work = {"build": build["id"], "job": job["name"], "attempt": attempt}
                    found.setdefault(attempt["runner"], []).append(work)
    return found


def _broken(standing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Branches that are broken, those that broke last first."""
    found = [
        {"repo": repository["repo"], **each}
        for repository in standing
        for each in repository["refs"]
        if each["broken_since"]
    ]
    return sorted(found, key=lambda each: -each["broken_since"]["build"])
