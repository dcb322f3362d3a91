"""Routes as they are declared here: each is read at its first request, and once.

What belongs here: when a route is read, and what all routes of the API have in common, and all of pages. What does not:
any route.

The framework reads what a route's function takes, and what all of that depends on, when the route is declared, and
once more in each application that includes the route's router. For all of ours that was a quarter of the time in which
this process started, and as much again with its first request; most of it for routes that nobody asks for that day.
Here a route knows its address and its methods, and is read when a request comes for it, or when the API is described.
Applications share the routes themselves: nothing of a route belongs to one of them.

Of an argument that stands twice in a query, or of a key that stands twice in an object of a body, the framework takes
the last one, and others on the way perhaps the first. What it does not know of a query it passes over, so that whoever
asks for the builds of one `autor` is shown everybody's. The API takes none of these.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, get_origin
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, compile_path
from starlette.types import Receive, Scope, Send

from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import UsageError
from surveil.web import api, problems


class LateRoute(APIRoute):
    """A route that is read at its first request; before, it only tells whether it is meant."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.path = path
        self.endpoint = endpoint
        self.methods = set(options["methods"])
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self._unread: dict[str, Any] | None = options
        self._repeated: dict[str, bool] = {}

    def read(self) -> None:
        """Be all that a route is."""
        unread = self._unread
        if unread is not None:
            # Where two threads serve, both may come first: each reads all of it, to the same end.
            super().__init__(self.path, self.endpoint, **unread)
            arguments = [each for each in get_flat_params(self.dependant) if isinstance(each.field_info, Query)]
            self._repeated = {each.alias: get_origin(each.field_info.annotation) is list for each in arguments}
            self._unread = None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.read()
        if self.path.startswith(api.PREFIX):
            self._require_sense(scope["query_string"])
        await super().handle(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request, whose body says everything once."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_plain(request: Request) -> Response:
            try:
                return await handle(_PlainRequest(request.scope, request.receive))
            except HTTPException as error:
                # The framework says of whatever goes wrong while it reads a body that it cannot be read.
                if isinstance(error.__cause__, UsageError):
                    raise error.__cause__ from error
                raise

        return handle_plain

    def _require_sense(self, query: bytes) -> None:
        """See that a query has what this route takes, and twice only what is a list. Raises UsageError."""
        names = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        for name, count in names.items():
            if name not in self._repeated:
                hint = did_you_mean(name, self._repeated) if self._repeated else "this address takes no argument"
                raise UsageError(f"{quoted(name)} in the query is unknown: {hint}")
            if count > 1 and not self._repeated[name]:
                raise UsageError(f"{quoted(name)} stands more than once in the query: say it once.")


class _PlainRequest(Request):
    """One whose body, if it is JSON, says everything once."""

    async def json(self) -> Any:
        """The body. Raises UsageError where a key stands twice, and ValueError where it is no JSON."""
        return json.loads(await self.body(), object_pairs_hook=_said_once)


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise UsageError(f"{quoted(twice)} stands more than once in an object of the body: say it once.")
    return found


def read_all(routes: Iterable[BaseRoute]) -> None:
    """Read what nobody has asked for so far."""
    for route in routes:
        if isinstance(route, LateRoute):
            route.read()


def api_router(tag: str, *, prefix: str = api.PREFIX) -> APIRouter:
    """A router for routes of the API; all of them may have to say what is wrong."""
    return APIRouter(prefix=prefix, tags=[tag], responses=problems.DOCUMENTED, route_class=LateRoute)


def page_router() -> APIRouter:
    """A router for what the description of the API leaves out: pages, and what speaks as others do."""
    return APIRouter(include_in_schema=False, route_class=LateRoute)


def all_of(parts: Sequence[Any]) -> list[BaseRoute]:
    """The routes of modules that have a `router`, in their order."""
    return [route for part in parts for route in part.router.routes]
