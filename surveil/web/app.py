"""The application: routes, headers, failures, and what all of them need.

What belongs here: putting it together. What does not: opening the parts (`opening`), and any route.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from surveil import __version__
from surveil.errors import SurveilError, UsageError
from surveil.web import api, problems
from surveil.web.allowing import Allowing, HowOften
from surveil.web.api import (
    acting,
    auditing,
    following,
    hooks,
    keeping,
    logs,
    narwhal,
    people,
    questions,
    reading,
    rows,
    submitting,
)
from surveil.web.api.described import DescribedApp
from surveil.web.books import Books
from surveil.web.ending import Ending
from surveil.web.feeds import route as feeds
from surveil.web.front import Front, place_of
from surveil.web.headers import Headers
from surveil.web.heads import Heads
from surveil.web.hooks import route as webhooks
from surveil.web.hooks.receiving import Receiver
from surveil.web.limits import Limits
from surveil.web.metrics import route as metrics
from surveil.web.metrics.counting import Counted
from surveil.web.metrics.gathering import Gatherer
from surveil.web.pages import arriving, assets, building, doing, kept, log, looking, settings, signing
from surveil.web.pages import auditing as audit
from surveil.web.pages.problem import problem_page
from surveil.web.providers import Provider
from surveil.web.quick import Quick
from surveil.web.room import Room
from surveil.web.routes import all_of
from surveil.web.submitting import Submitter
from surveil.web.tags import Tags
from surveil.web.visitors import Door

# A job's name may hold slashes: whatever lies below jobs is looked for before jobs.
API = (following, rows, logs, acting, submitting, keeping, people, auditing, questions, reading)
USUAL = HowOften()
PAGES = (assets, signing, arriving, looking, log, building, kept, settings, audit, doing)
ABOUT = "Continuous integration that outlives its machines: the documents that `surveil ... --json` prints, over HTTP."


def make_app(
    books: Books, door: Door, submitter: Submitter, *, cluster: str, receiver: Receiver | None = None,
    public_url: str | None = None, proxies: Sequence[str] = (), gatherer: Gatherer | None = None,
    public_badges: bool = False, providers: Mapping[str, Provider] | None = None, how_often: HowOften = USUAL,
    near: bool = False,
) -> FastAPI:  # fmt: skip
    """The application over these parts, of the installation `cluster`; with a `receiver` it takes webhooks, with a
    `gatherer` it says how all of it does. People reach it at `public_url`, through `proxies` that may say for whom they
    ask, as often as `how_often` says. With `public_badges` everybody may see how a branch stands. At
    `providers` people sign in. What is `near` is reached from this machine alone.
    """
    parts = [
        *((metrics,) if gatherer is not None else ()), *API, narwhal, *PAGES, feeds,
        *((hooks, webhooks) if receiver is not None else ()),
    ]  # fmt: skip
    app = DescribedApp(
        title="surveil", version=__version__, summary=ABOUT, docs_url=None, redoc_url=None,
        openapi_url=f"{api.PREFIX}/openapi.json", routes=all_of(parts),
    )  # fmt: skip
    app.state.books = books
    app.state.door = door
    app.state.submitter = submitter
    app.state.cluster = cluster
    app.state.public_badges = public_badges
    app.state.providers = providers or {}
    app.state.returns = defaultdict[str, Room](lambda: Room(most=arriving.RETURNS_MAX, wait_s=arriving.RETURN_S))
    app.state.stopping = asyncio.Event()
    app.state.gatherer = gatherer
    app.state.receiver = receiver
    app.add_middleware(Ending)
    app.add_middleware(Quick, books=books, door=door, cluster=cluster)
    app.add_middleware(Tags)
    app.add_middleware(Heads)
    app.add_middleware(Limits, door=door)
    app.add_middleware(Allowing, how_often=how_often)
    place = None if public_url is None else place_of(public_url)
    _require_another_name("" if place is None else place.prefix)
    app.add_middleware(Front, place=place, proxies=tuple(proxies), near=near)
    app.add_middleware(Headers)
    if gatherer is not None:
        # Around all others, as these refuse as well; what they say of a request stands in its scope.
        app.add_middleware(Counted, sums=gatherer.web)
    problems.install(app, problem_page)
    app.get("/healthz", include_in_schema=False)(healthy)
    app.get("/readyz", include_in_schema=False)(ready)
    return app


def _require_another_name(prefix: str) -> None:
    """See that nobody can take the prefix for one of our own addresses. Raises UsageError."""
    routes = all_of((*PAGES, narwhal, webhooks, metrics, feeds))
    paths = {api.PREFIX, "/healthz", "/readyz"} | {str(getattr(each, "path", "")) for each in routes}
    first = prefix.split("/")[1:2]
    if first and first in [path.split("/")[1:2] for path in paths]:
        raise UsageError(
            f"The pages cannot be below {prefix}, which is an address of their own: choose another prefix for "
            "--public-url, such as /ci."
        )


async def healthy() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok", "version": __version__}


async def ready(request: Request) -> JSONResponse:
    """The dispatcher can be asked as well; without it everything can be read and nothing changed."""
    books: Books = request.app.state.books
    try:
        await books.ask("status")
    except SurveilError as error:
        return problems.problem(503, str(error))
    return JSONResponse({"status": "ok"})
