"""Who may say what: the judgement on each message, from the key that its connection proved and the table as it is now.

What belongs here: roles against message types, and the limits on strangers. What does not: letting connections in
(zap), and whether an attempt belongs to the runner that speaks of it (core).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, TypeAlias, get_args

from surveil.core.peers import Peer, Role
from surveil.frozen import dataclass, replace
from surveil.net.peers import Peers
from surveil.net.zap import STRANGER_PREFIX
from surveil.protocol import Ask, Enrol, FromObserver, FromRunner, Hello, Message, OnBulk

STRANGER_BYTES_MAX: Final = 4_096
STRANGER_TRIES_MAX: Final = 3
STRANGERS_MAX: Final = 4_096
"""So many strangers' tries are remembered; the longest silent one is forgotten first."""

ALLOWED_ON_CONTROL: Final[Mapping[Role, frozenset[type]]] = {
    # A peer that is known already may show a token again: the answer to its first try may have been lost.
    Role.RUNNER: frozenset({*get_args(FromRunner), Enrol}),
    Role.OBSERVER: frozenset({*get_args(FromObserver), Enrol}),
    Role.CLIENT: frozenset({Ask, Enrol}),
}
ALLOWED_ON_BULK: Final[Mapping[Role, frozenset[type]]] = {Role.RUNNER: frozenset(get_args(OnBulk))}
ALLOWED_TO_STRANGERS: Final[frozenset[type]] = frozenset({Enrol})
_NOTHING: Final[frozenset[type]] = frozenset()


@dataclass(frozen=True, slots=True)
class Stranger:
    """A key that is not enrolled, and may be by the next message."""

    key: str
    role: ClassVar[str] = "stranger"
    name: ClassVar[str] = ""


Sender: TypeAlias = Peer | Stranger


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing was done; `told` says whether the peer deserves to hear it, `final` that it will never be better."""

    reason: str
    told: bool = True
    final: bool = False


_UNKNOWN: Final = Denied(
    "this key is not known to the dispatcher: enrol again, with a new token from 'surveil token create'", final=True
)
_REVOKED: Final = Denied("this key was revoked: enrol again, with a new token from 'surveil token create'", final=True)
_CLOSED: Final = Denied("no token is valid now: make a new one with 'surveil token create'")
_TOO_LARGE: Final = Denied(f"before it is enrolled a peer may send at most {STRANGER_BYTES_MAX} bytes")
_TOO_OFTEN: Final = Denied(f"a stranger has {STRANGER_TRIES_MAX} tries", told=False)


class Admission:
    """Judges messages. `peers` is asked each time, so that a revocation holds on connections that are open."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._tries: OrderedDict[str, int] = OrderedDict()

    def sender(self, user_id: str, message_bytes: int) -> Sender | Denied:
        """Who speaks, before anything of the message is read."""
        if user_id.startswith(STRANGER_PREFIX):
            return self._stranger(user_id.removeprefix(STRANGER_PREFIX), message_bytes)
        peer = self._peers.get(user_id)
        if peer is None:
            return _UNKNOWN
        return _REVOKED if peer.revoked else peer

    def known(self, user_id: str) -> Peer | None:
        """Whose key a connection has proved; None for a stranger's."""
        return self._peers.get(user_id)

    def _stranger(self, key: str, message_bytes: int) -> Stranger | Denied:
        tries = self._tries.pop(key, 0) + 1
        self._tries[key] = tries
        if len(self._tries) > STRANGERS_MAX:
            self._tries.popitem(last=False)
        if tries > STRANGER_TRIES_MAX:
            return _TOO_OFTEN
        if not self._peers.enrolling and self._peers.get(key) is None:
            return _CLOSED
        if message_bytes > STRANGER_BYTES_MAX:
            return _TOO_LARGE
        return Stranger(key)

    @staticmethod
    def allowed(peer: Sender, messages: Sequence[Message], *, bulk: bool) -> Denied | None:
        """Why this peer may not say one of these on this connection, or None."""
        if isinstance(peer, Stranger):
            allowed = _NOTHING if bulk else ALLOWED_TO_STRANGERS
        else:
            allowed = (ALLOWED_ON_BULK if bulk else ALLOWED_ON_CONTROL).get(peer.role, _NOTHING)
        for message in messages:
            if type(message) not in allowed:
                lane = "bulk" if bulk else "control"
                return Denied(f"a {peer.role} may not say {type(message).__name__} on its {lane} connection")
        return None


def as_enrolled(peer: Peer, hello: Hello) -> tuple[Hello, tuple[str, ...]]:
    """The `Hello` in its enrolled name and with granted labels only, and the labels that were not granted.

    A runner that was broken into could otherwise take another's name, or call jobs to itself that are meant for others.
    """
    name = peer.name or hello.name
    beyond = tuple(label for label in hello.labels if label not in peer.labels) if peer.labels else ()
    if not beyond and name == hello.name:
        return hello, ()
    return replace(hello, name=name, labels=tuple(label for label in hello.labels if label not in beyond)), beyond
