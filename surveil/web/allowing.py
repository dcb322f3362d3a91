"""How often anybody may ask, so that one who asks without end leaves room for the others, and guessing leads nowhere.

What belongs here: who is counted for what, and the answer of who comes too often. What does not: the counting
(`surveil.core.allowances`), how much a request may bring (`limits`), and what an asker may do (`visitors`).

Whoever holds a good pass is counted by it, wherever they come from: neighbours behind one address do not take each
other's room. Whoever shows nothing that is good is counted by the address. A good pass is let in whatever its address
did before, as there is nothing to guess in 256 bits of chance; but a webhook's secret was perhaps thought out by a
person, so an address that guessed too often is not even listened to for a while (docs/adr/0048).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surveil.clock import boot_ms
from surveil.config import REQUEST_RATE_DEFAULT
from surveil.core.allowances import Allowances
from surveil.frozen import dataclass
from surveil.web.limits import HOOKS
from surveil.web.problems import problem
from surveil.web.root import path_of
from surveil.web.visitors import KNOWN, password_of, shown_by, told_by

BURST_S: Final = 20
"""Who asked nothing for so long may ask as much at once."""
KEYS_MAX: Final = 20_000
"""So many passes and addresses are counted by themselves, a few megabytes."""
ADDRESSES_MAX: Final = 1_000
"""Of so many it is remembered how they are counted."""
STREAM_AGAIN_S: Final = 10
_FREE: Final = ("/static/", "/healthz", "/readyz", "/health")
_SIGN_IN: Final = "/login"
_RETURNS: Final = "/login/"
"""Whoever comes back from a provider has us ask there."""
_EVENTS: Final = b"text/event-stream"
_NETWORK: Final = 64
"""Whoever has one address of IPv6 has all of its network."""


class _TooMany(Exception):  # No error: it ends an answer that nobody is to get.
    """This stream is one too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HowOften:
    """How much is allowed. A pass may ask `rate` times a second, and as often as it likes where that is 0; an address
    may be wrong `failed_most` times, and then once every `failed_each_ms`; so many streams of events are open at once,
    of one pass and of all.
    """

    rate: int = REQUEST_RATE_DEFAULT
    failed_most: int = 20
    failed_each_ms: int = 3_000
    streams_each: int = 2_000
    streams: int = 10_000


class Allowing:
    """Counts requests and streams; `now` is in milliseconds."""

    def __init__(self, app: ASGIApp, *, how_often: HowOften, now: Callable[[], int] = boot_ms) -> None:
        self._app = app
        self._now = now
        self._how_often = how_often
        rate = how_often.rate
        self._asked = Allowances(each_ms=max(1, 1000 // rate), most=rate * BURST_S, keys_max=KEYS_MAX) if rate else None
        self._failed = Allowances(each_ms=how_often.failed_each_ms, most=how_often.failed_most, keys_max=KEYS_MAX)
        self._streams: Counter[bytes | str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = path_of(HTTPConnection(scope)) if scope["type"] == "http" else ""
        if not path or path.startswith(_FREE):
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        scope.setdefault("state", {})
        if path.startswith((HOOKS, _RETURNS)):
            wait_ms = self._failed.wait_ms(address, self._now())
        else:
            wait_ms = self._wait_ms(scope, address) if path != _SIGN_IN else 0
        if wait_ms:
            await too_often(wait_ms)(scope, receive, send)
            return
        await self._counted(scope, receive, send, address=address, path=path)

    def _wait_ms(self, scope: Scope, address: str) -> int:
        """How long they have to wait, as far as that is known: what is shown may be good, and of several things one;
        which, is known with the answer.
        """
        if self._asked is None:
            return 0
        now = self._now()
        return max(self._asked.wait_ms(who, now) for who in _shown(scope) or (address,))

    async def _counted(self, scope: Scope, receive: Receive, send: Send, *, address: str, path: str) -> None:
        """Serve it, and count it by what comes of it."""
        instead: Response | None = None
        streaming: bytes | str = ""

        async def judged(message: Message) -> None:
            nonlocal instead, streaming
            if instead is not None:
                return
            if message["type"] == "http.response.start":
                who = scope["state"].get(KNOWN) or address
                instead = self._judge(message["status"], scope["method"], path, address, who)
                if instead is None and dict(message["headers"]).get(b"content-type", b"").startswith(_EVENTS):
                    if self._is_full(who, is_known=who != address):
                        instead = too_often(STREAM_AGAIN_S * 1000, "As many streams are open as may be")
                        raise _TooMany
                    streaming = who
                    self._streams[who] += 1
            if instead is None:
                await send(message)

        try:
            await self._app(scope, receive, judged)
        except* _TooMany:
            pass  # The stream that nobody is to get has ended, perhaps beside others of its own tasks.
        finally:
            if streaming:
                self._streams[streaming] -= 1
                if not self._streams[streaming]:
                    del self._streams[streaming]
        if instead is not None:
            await instead(scope, receive, send)

    def _is_full(self, who: bytes | str, *, is_known: bool) -> bool:
        """Whether no stream is left for them; strangers leave half of all to those who are known."""
        mine, all_of_them = self._streams[who], self._streams.total()
        most = self._how_often.streams if is_known else self._how_often.streams // 2
        return mine >= self._how_often.streams_each or all_of_them >= most

    def _judge(self, status: int, method: str, path: str, address: str, who: bytes | str) -> Response | None:
        """What is answered instead, where an address was wrong or asked too often."""
        came = path.startswith(_RETURNS) or (path == _SIGN_IN and method == "POST")
        # Of a webhook that says nothing, or not in time, nobody can know who sent it, and all the same it took room.
        said_nothing = path.startswith(HOOKS) and status in {400, 408}
        is_wrong = status == 401 or (came and status == 403) or said_nothing  # noqa: PLR2004
        if is_wrong:
            wait_ms = self._failed.take(address, self._now())
            return too_often(wait_ms) if wait_ms else None
        if self._asked is None or path == _SIGN_IN or path.startswith(HOOKS):
            return None
        wait_ms = self._asked.take(who, self._now())
        # One with a good pass that came at the same moment as others is let in; the next is not.
        return too_often(wait_ms) if wait_ms and who == address else None


def too_often(wait_ms: int, sentence: str = "You asked too often") -> Response:
    """The answer that says when to come again."""
    seconds = -(-wait_ms // 1000)
    answer = problem(429, f"{sentence}: ask again in {seconds} s.")
    answer.headers["retry-after"] = str(seconds)
    return answer


def address_of(scope: Scope) -> str:
    """By what an address is counted: of IPv6 its network."""
    return _counted_as(str((scope.get("client") or ("", 0))[0]))


@lru_cache(ADDRESSES_MAX)
def _counted_as(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _NETWORK), strict=False))
    return str(address)


def _shown(scope: Scope) -> list[bytes]:
    """What may tell a visitor from others, without holding what lets them in; nothing where nothing is shown."""
    request = HTTPConnection(scope)
    found = (password_of(request), shown_by(request)[1])
    return [told_by(secret) for secret in found if secret]
