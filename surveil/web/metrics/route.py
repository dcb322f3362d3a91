"""The ways to `/metrics`: by the address of the pages with a pass that may read, or by an address of its own.

What belongs here: who may collect. What does not: what is collected (`exposing`).
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from surveil.web.api.asking import Reads
from surveil.web.front import Front
from surveil.web.metrics.gathering import Gatherer
from surveil.web.rights import Scope
from surveil.web.routes import page_router

router = page_router()


@router.get("/metrics")
async def metrics(request: Request, visitor: Reads) -> Response:
    """The numbers, for whoever may read everywhere."""
    visitor.require(Scope.READ)
    return await _exposed(request)


def make_alone(gatherer: Gatherer, *, near: bool = False) -> FastAPI:
    """An application with nothing but the numbers, for everybody who can reach it; what is `near`, from this machine
    alone.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gatherer = gatherer
    app.add_middleware(Front, near=near)
    app.get("/metrics")(_exposed)
    return app


async def _exposed(request: Request) -> Response:
    from surveil.web.metrics.exposing import expose  # noqa: PLC0415  # Its library is for those who collect numbers.

    gatherer: Gatherer = request.app.state.gatherer
    body, media_type = await expose(gatherer, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})
