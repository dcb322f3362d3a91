"""Routes as they are declared here: each is read at its first request, and once.

What belongs here: when a route is read, and what all routes of the API have in common, and all of pages. What does not:
any route.

The framework reads what a route's function takes, and what all of that depends on, when the route is declared, and
once more in each application that includes the route's router. For all of ours that was a quarter of the time in which
this process started, and as much again with its first request; most of it for routes that nobody asks for that day.
Here a route knows its address and its methods, and is read when a request comes for it, or when the API is described.
Applications share the routes themselves: nothing of a route belongs to one of them.

Of an argument that stands twice in a query the framework takes the last one, and others on the way perhaps the first.
The API takes neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_origin
from urllib.parse import parse_qsl

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, compile_path
from starlette.types import Receive, Scope, Send

from surveil.core.spelling import quoted
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

    def read(self) -> None:
        """Be all that a route is."""
        unread = self._unread
        if unread is not None:
            # Where two threads serve, both may come first: each reads all of it, to the same end.
            super().__init__(self.path, self.endpoint, **unread)
            self._unread = None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.read()
        if self.path.startswith(api.PREFIX):
            self._require_once(scope["query_string"])
        await super().handle(scope, receive, send)

    def _require_once(self, query: bytes) -> None:
        """See that no argument stands twice in a query, but where it is a list. Raises UsageError."""
        names = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        lists = {each.alias for each in self.dependant.query_params if get_origin(each.field_info.annotation) is list}
        twice = next((name for name, count in names.items() if count > 1 and name not in lists), None)
        if twice is not None:
            raise UsageError(f"{quoted(twice)} stands more than once in the query: say it once.")


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
