"""Pages about what is kept of jobs' work: the artifacts of one build, and of all.

What belongs here: which documents a page shows. What does not: their bytes, which the API gives
(`surveil.web.api.reading`).
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request, Response

from surveil.web.api.asking import Asked, BuildNumber
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.routes import page_router

router = page_router()

ARTIFACTS_SHOWN: Final = 50
_At = Annotated[int, Query(ge=0, le=1_000_000)]


@router.get("/artifacts")
async def artifacts(
    request: Request,
    books: Asked,
    visitor: Looks,
    repo: Annotated[str, Query(max_length=4096)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """What there is to fetch, the newest build's first."""
    about = {"repo": repo or None, "before": before, "limit": ARTIFACTS_SHOWN}
    found = (await books.ask("artifacts", about)).body
    builds: dict[int, list[dict[str, object]]] = {}
    for each in found["artifacts"]:
        builds.setdefault(int(each["job"].partition("/")[0]), []).append(each)
    return page(
        request, "artifacts.html", visitor, title="Artifacts", repo=repo, builds=builds, older=found["next"],
        is_newest=before is None,
    )  # fmt: skip


@router.get("/builds/{build}/artifacts")
async def artifacts_of(request: Request, books: Asked, visitor: Looks, build: BuildNumber, at: _At = 0) -> Response:
    """All that the jobs of a build kept, page by page."""
    found = (await books.ask("artifacts", {"build": build, "at": at, "limit": ARTIFACTS_SHOWN + 1})).body
    return page(
        request, "build_artifacts.html", visitor, title=f"Artifacts of build {build}", build=build, at=at,
        artifacts=found[:ARTIFACTS_SHOWN], following=at + ARTIFACTS_SHOWN if len(found) > ARTIFACTS_SHOWN else None,
    )  # fmt: skip
