"""Forms that change something; each leads back to a page that shows what came of it.

What belongs here: forms to wishes. What does not: whether a wish makes sense (`surveil.answer.wishes`).
"""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from fastapi import Form, Path, Response
from fastapi.responses import RedirectResponse

from surveil.web.api.asking import Asked, BuildNumber
from surveil.web.pages.asking import Does
from surveil.web.routes import page_router

router = page_router()


@router.post("/builds/{build}/cancel")
async def cancel(books: Asked, build: BuildNumber, visitor: Does) -> Response:
    """End a build."""
    await books.ask("cancel", {"build": build, "jobs": [], "reason": f"cancelled by {visitor.person}"})
    return _shown(build)


@router.post("/builds/{build}/retry")
async def retry(
    books: Asked, build: BuildNumber, _visitor: Does, *, failed: Annotated[bool, Form()] = False
) -> Response:
    """Build the same commit again, all of it or what failed, and show that build."""
    about = {"build": build, "jobs": [], "failed": failed, "mid": f"manual:{uuid.uuid4()}"}
    return _shown((await books.ask("retry", about)).body["build"])


@router.post("/builds/{build}/approve")
async def approve(books: Asked, build: BuildNumber, _visitor: Does) -> Response:
    """Let a build of an untrusted ref run."""
    await books.ask("approve", {"build": build})
    return _shown(build)


@router.post("/builds/{build}/unhold")
async def unhold(books: Asked, build: BuildNumber, visitor: Does) -> Response:
    """Let jobs be tried again that were lost with their runner and wait for a person's word."""
    await books.ask("unhold", {"build": build, "jobs": [], "reason": f"let go by {visitor.person}"})
    return _shown(build)


@router.post("/runners/{name}/{order}")
async def order(
    books: Asked,
    name: Annotated[str, Path(max_length=200)],
    order: Literal["drain", "cordon", "uncordon"],
    visitor: Does,
) -> Response:
    """Order a runner."""
    await books.ask("runner", {"name": name, "order": order, "reason": f"by {visitor.person}"})
    return RedirectResponse("/runners", status_code=303)


def _shown(build: int) -> Response:
    return RedirectResponse(f"/builds/{build}", status_code=303)
