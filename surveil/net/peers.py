"""Who is known to this dispatcher: the table that is asked at each handshake and again at each message.

What belongs here: the table in memory. What does not: its records (core.peers), where they are kept (store) and who
changes them (the dispatcher's gate).

Nothing here waits or reads a disk, because a handshake must never depend on either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from surveil.core.peers import Peer


class Peers:
    """The enrolled peers by key, and until when strangers may knock. `now` gives the dispatcher's milliseconds."""

    def __init__(self, now: Callable[[], int], peers: Iterable[Peer] = ()) -> None:
        self._now = now
        self._peers = {peer.key: peer for peer in peers}
        self._open_until_at = 0

    def put(self, peer: Peer) -> None:
        """Add a peer, or replace what was known of its key; a revocation holds from the next message on."""
        self._peers[peer.key] = peer

    def get(self, key: str) -> Peer | None:
        """What is known of a key, revoked ones included."""
        return self._peers.get(key)

    def admitted(self, key: str) -> Peer | None:
        """The peer with this key, unless it is unknown or revoked."""
        peer = self._peers.get(key)
        return None if peer is None or peer.revoked else peer

    def is_revoked(self, key: str) -> bool:
        """Whether this key was let in once, and never will be again."""
        peer = self._peers.get(key)
        return peer is not None and peer.revoked

    def __iter__(self) -> Iterator[Peer]:
        """All peers, revoked ones included."""
        return iter(tuple(self._peers.values()))

    def __len__(self) -> int:
        return len(self._peers)

    def open_enrolment(self, until_at: int) -> None:
        """Let strangers knock until this instant: the latest expiry of an unused token; 0 closes the door."""
        self._open_until_at = until_at

    @property
    def enrolling(self) -> bool:
        """Whether an unused, unexpired token is about, so that a stranger may be its bearer."""
        return self._now() < self._open_until_at
