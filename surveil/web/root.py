"""Where our own addresses begin among those of a host, which may be below a prefix such as `/ci`.

What belongs here: from a request's address to ours, and where its cookie is good. What does not: how the prefix becomes
known (`front`).
"""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import Scope


def root_of(request: HTTPConnection) -> str:
    """What stands before our own addresses: nothing, or a prefix without a slash at its end."""
    return str(request.scope.get("root_path", ""))


def path_of(request: HTTPConnection) -> str:
    """The path of what is asked for, as our routes have it."""
    return path_in(request.scope)


def path_in(scope: Scope) -> str:
    """The same of a request that nobody has looked at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def cookie_path(request: HTTPConnection) -> str:
    """Below which a browser shows our cookie: others at the same host are none of those who should have it."""
    return f"{root_of(request)}/"
