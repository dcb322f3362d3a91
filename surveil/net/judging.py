"""From the bytes of a message to a message that its sender may say, or to a sentence on why not.

What belongs here: what every message goes through before anybody acts on it. What does not: where bytes come from and
go to (lane, server), and the rules themselves (admission).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import zmq

from surveil.errors import ProtocolError
from surveil.net.admission import Admission, Denied, Sender, Stranger, as_enrolled
from surveil.net.audit import MALFORMED, MAY_NOT, Audit
from surveil.net.counts import ServerCounts
from surveil.net.inlet import FRAMES_KEPT_MAX
from surveil.net.traffic import Received, Route
from surveil.protocol import FRAMES_MAX, Hello, Message, Refused, decode_all

_AUTOMATIC_ID_BYTES: Final = 5
"""Routing ids that libzmq gives are a zero and four bytes; no honest peer asks for one of its own."""
_REASON_MAX: Final = 1_000

Origin: TypeAlias = tuple[str, int]
"""The user id of a message's connection, as the handshake proved it, and the connection's descriptor."""


def origin(last: zmq.Frame, _parts: list[bytes]) -> Origin:
    """What ZeroMQ says of a message's connection, while it has the message's last frame."""
    return str(last.get("User-Id")), int(last.get(zmq.SRCFD))


class Judge:
    """Judges messages and counts them in `counts`, the bad ones of enrolled peers in `audit` as well. `tell` says
    something where a message came from.
    """

    def __init__(
        self, admission: Admission, counts: ServerCounts, audit: Audit, tell: Callable[[Route, Refused], object]
    ) -> None:
        self._admission = admission
        self._counts = counts
        self._audit = audit
        self._tell = tell

    def judge(self, parts: list[bytes], origin: Origin, *, bulk: bool) -> list[Received]:
        """The messages in these parts; none after their sender was told why not, if that makes sense."""
        route = Route(bulk, parts[0])
        try:
            found = self._messages(parts, route, origin)
        except ProtocolError as error:
            self._counts.malformed += 1
            self._note(origin, MALFORMED)
            self._tell(route, Refused(reason=str(error)[:_REASON_MAX]))
            return []
        if not isinstance(found, Denied):
            return found
        self._counts.denied += 1
        self._note(origin, MAY_NOT)
        if found.told:
            self._tell(route, Refused(reason=found.reason, final=found.final))
        return []

    def _messages(self, parts: list[bytes], route: Route, origin: Origin) -> list[Received] | Denied:
        if not 1 < len(parts) < FRAMES_KEPT_MAX:
            raise ProtocolError(f"a message has 2 to {FRAMES_MAX} frames")
        if len(route.id) != _AUTOMATIC_ID_BYTES or route.id[0] != 0:
            raise ProtocolError("a peer does not choose its routing id")
        peer = self._admission.sender(origin[0], sum(map(len, parts)))
        if isinstance(peer, Denied):
            return peer
        messages = decode_all(parts[1:])
        denied = self._admission.allowed(peer, messages, bulk=route.bulk)
        return denied or [self._admit(peer, route, message) for message in messages]

    def _admit(self, peer: Sender, route: Route, message: Message) -> Received:
        self._counts.received += 1
        if not isinstance(message, Hello) or isinstance(peer, Stranger):
            return Received(peer, route, message)
        hello, beyond = as_enrolled(peer, message)
        return Received(peer, route, hello, beyond)

    def _note(self, origin: Origin, what: str) -> None:
        peer = self._admission.known(origin[0])
        if peer is not None:
            self._audit.count(peer, what)
