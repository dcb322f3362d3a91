"""What stands before the application: the address at which people reach it, and the proxies that pass requests on.

What belongs here: which of a request's words about itself are believed, and where in it our own addresses begin. What
does not: who asks (`visitors`), and what they may send (`limits`).

After this a request says what is so: its scheme and its host are those that the browser shows, its client is the
visitor and not the proxy, and whatever stands before our own addresses is its root path. None of that is taken from a
header, unless a proxy that was named sent it: `public_url` is written down by whoever set this up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from surveil.core.spelling import quoted
from surveil.frozen import dataclass
from surveil.web.problems import problem

HSTS: Final = "max-age=31536000"
"""A year. Not for names below ours, and not in the lists that browsers ship: those are for whoever owns the name."""
_USUAL_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where people reach the pages. `prefix` is empty, or begins with a slash and ends without one."""

    scheme: str
    host: str
    prefix: str

    @property
    def origin(self) -> str:
        """As browsers name it."""
        return f"{self.scheme}://{self.host}"


def place_of(public_url: str) -> Place:
    """The parts of an address that was checked already (`surveil.config.values.public_url`)."""
    parts = urlsplit(public_url)
    return Place(scheme=parts.scheme, host=_plain_host(parts.netloc, parts.scheme), prefix=parts.path.rstrip("/"))


class Front:
    """Sets right what a request says of itself, or refuses it. `proxies` are the addresses and networks that may say
    for whom they ask. What is `near` is only to be reached from this machine.
    """

    def __init__(
        self, app: ASGIApp, *, place: Place | None = None, proxies: Sequence[str] = (), near: bool = False
    ) -> None:
        self._app = app
        self._place = place
        self._near = near
        self._has_proxies = bool(proxies)
        # It has types of its own for what is the same.
        self._believe = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", _nothing), trusted_hosts=list(proxies)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = await self._set_right(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        root, is_ours_alone = scope["root_path"], self._is_secure(scope) and not scope["root_path"]

        async def with_place(message: Message) -> None:
            if message["type"] == "http.response.start" and (is_ours_alone or _leads_on(message)):
                headers = MutableHeaders(scope=message)
                target = headers.get("location", "")
                if target.startswith("/"):
                    headers["location"] = root + target
                if is_ours_alone:
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        await self._app(scope, receive, with_place)

    def _is_secure(self, scope: Scope) -> bool:
        place = self._place
        return place is not None and scope["scheme"] == "https" and Headers(scope=scope).get("host") == place.host

    async def _set_right(self, scope: Scope) -> Response | None:
        """Change what the request says to what is so. What it is refused with, if it is."""
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            # Of two lengths a proxy may believe the one and we the other, and the rest would be another's request.
            refusal = problem(400, "A request says how long its body is in one way, not in two.")
            refusal.headers["connection"] = "close"
            return refusal
        own = scope["scheme"]
        said = await self._forwarded(scope)
        scope["scheme"], scope["root_path"] = said or own, ""
        place = self._place
        if place is None:
            # Whoever owns a name of the world's can have a browser on this machine ask here by it, and then reads what
            # nobody has to sign in for.
            return _astray(headers["host"]) if self._near and not _is_near(headers.get("host", "")) else None
        if _plain_host(headers.get("host", ""), place.scheme) != place.host:
            return None if _is_near(headers.get("host", "")) else _misled(place)
        return self._at(scope, place, said)

    async def _forwarded(self, scope: Scope) -> str:
        """Take over whom a proxy that we know asks for; the scheme that it says, or nothing."""
        if not self._has_proxies:
            return ""
        peer, scope["scheme"] = scope.get("client"), ""
        await self._believe(scope, _never, _nothing_said)
        if not _is_address(scope.get("client")):
            scope["client"] = peer  # The proxy says it does not know, or means nothing that we do.
        return str(scope["scheme"])

    def _at(self, scope: Scope, place: Place, said: str) -> Response | None:
        """A request at the address that people use, whose path has the prefix yet, or no more."""
        path, raw = str(scope["path"]), bytes(scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
        prefix = place.prefix
        if prefix and path != prefix and not path.startswith(f"{prefix}/"):
            path, raw = prefix + path, prefix.encode() + raw
        query = b"?" + scope["query_string"] if scope.get("query_string") else b""
        target = f"{place.origin}{(raw + query).decode('ascii', 'replace')}"
        reads = scope["method"] in {"GET", "HEAD"}
        if said == "http" and place.scheme == "https":
            if reads:
                return RedirectResponse(target, HTTPStatus.PERMANENT_REDIRECT)
            return problem(403, f"This came without encryption: send it to {place.origin}, and change what you sent.")
        if prefix and path == prefix:
            return RedirectResponse(f"{place.origin}{prefix}/", HTTPStatus.PERMANENT_REDIRECT)
        scope["scheme"], scope["root_path"], scope["path"], scope["raw_path"] = place.scheme, prefix, path, raw
        scope["headers"] = [
            (name, place.host.encode() if name == b"host" else value) for name, value in scope["headers"]
        ]
        return None


def _leads_on(start: Message) -> bool:
    """Whether an answer leads to another address."""
    return any(name == b"location" for name, _ in start.get("headers", ()))


def _plain_host(host: str, scheme: str) -> str:
    """A host as browsers write it: small letters, and no port where it is the usual one."""
    return host.lower().removesuffix(_USUAL_PORTS.get(scheme, ""))


def _is_near(host: str) -> bool:
    """Whether a name can only have been typed by somebody near: one of the world's names may lead anybody here."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return "." not in name or _is_address((name, 0))


def _is_address(client: tuple[str, int] | None) -> bool:
    try:
        return client is not None and bool(ipaddress.ip_address(client[0]))
    except ValueError:
        return False


def _misled(place: Place) -> Response:
    return problem(
        421, f"These pages are at {place.origin}{place.prefix}/: ask there, or have the proxy pass the Host header on."
    )


def _astray(host: str) -> Response:
    return problem(
        421,
        f"This is for this machine alone, and not at {quoted(host)}: ask at 127.0.0.1 or localhost. Pages that people "
        "reach by another name are started with `--public-url`, numbers with `--metrics` at another address.",
    )


async def _nothing(_scope: object, _receive: object, _send: object) -> None:
    """What comes after a look at the headers: we do."""


async def _never() -> Message:
    raise AssertionError("nobody reads here")


async def _nothing_said(_message: object) -> None:
    raise AssertionError("nobody answers here")
