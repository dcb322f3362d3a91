"""One of the dispatcher's two listening sockets, with all that hangs on it.

What belongs here: its life, news of its connections, handing words over to it. What does not: what is done with what
comes in (server), and who may say it (judging).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import zmq

from surveil.net.addresses import Address
from surveil.net.counts import ServerCounts
from surveil.net.endless import Endless, Hoard
from surveil.net.inlet import Inlet
from surveil.net.judging import Origin, origin
from surveil.net.keys import KeyPair
from surveil.net.monitor import ConnectionEvent, Monitor
from surveil.net.options import apply_options, backlog_bytes, server_options, silent_max
from surveil.net.ports import listen
from surveil.net.tenancy import Tell, Tenancy
from surveil.protocol import Message, encode_all

_LAST: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
# Refused keys are counted where they are refused, because only there it is known where they come from. Failures of
# the protocol are not asked for: telling of one, libzmq 4.3.5 forgets that it was about to close the connection, which
# after a single flipped bit would stand still until heartbeats are missed, longer than a lease.
_WATCHED_EVENTS: Final = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_ACCEPT_FAILED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Lane:
    """The socket for control or the one for bulk. `tell` hears of keys that have too much of it.

    Raises:
        InfrastructureError: the port cannot be had.
    """

    def __init__(
        self, context: zmq.Context[Any], address: Address, keys: KeyPair, counts: ServerCounts, tell: Tell, *,
        bulk: bool,
    ) -> None:  # fmt: skip
        self._counts = counts
        self._socket = context.socket(zmq.ROUTER)
        apply_options(self._socket, server_options(keys, bulk=bulk))
        self.monitor = Monitor(context, self._socket, _WATCHED_EVENTS)
        self.port = listen(self._socket, address)
        self.inlet = Inlet(self._socket, self._look)
        self._endless = Endless(backlog_bytes(bulk=bulk))
        self._tenancy = Tenancy(silent_max(bulk=bulk), tell)
        self._taken = 0

    def close(self, linger_ms: int) -> None:
        """Close the socket; what was handed over may leave for as long as that."""
        self.monitor.close()
        self._socket.close(linger_ms)

    def _look(self, last: zmq.Frame, parts: list[bytes]) -> Origin:
        found = origin(last, parts)
        self._endless.spoke(found[1], found[0])
        self._tenancy.spoke(found[1], found[0], parts[0])
        return found

    def news(self) -> list[ConnectionEvent]:
        """Openings and closings of connections since the last call; everything else is only counted."""
        changes: list[ConnectionEvent] = []
        events = self.monitor.take()
        self._tenancy.follow(events)
        for event in events:
            self._count(event)
            if event.event in {zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED}:
                self._endless.follow(event)
                changes.append(event)
        return changes

    def _count(self, event: ConnectionEvent) -> None:
        match event.event:
            case zmq.EVENT_ACCEPTED:
                self._counts.connections += 1
            case zmq.EVENT_DISCONNECTED:
                self._counts.disconnections += 1
            case zmq.EVENT_ACCEPT_FAILED:
                self._counts.accept_failed += 1
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._counts.handshakes_done += 1
            case _:
                self._counts.handshakes_failed += 1

    @property
    def connections(self) -> int:
        """How many stand, let in or not."""
        return len(self._endless)

    @property
    def suspects(self) -> bool:
        """Whether it is worth to look again soon for messages that never end."""
        return self._endless.suspects

    def cut_endless(self) -> list[Hoard]:
        """End the connections that bring too much of a message which is not whole."""
        # Each connection has its turn, so a whole message that waits comes out after at most one from each other one.
        settled = self.inlet.dry or self.inlet.taken - self._taken > 2 * self.connections
        if settled:
            self._taken = self.inlet.taken
        return self._endless.cut(settled=settled)

    def say(self, route_id: bytes, messages: Sequence[Message]) -> int:
        """Hand over messages for a connection; how many were taken."""
        encoded = said = 0
        for frames, count in encode_all(messages):
            encoded += count
            said += count if self._handed_over(route_id, frames) else 0
        self._counts.too_large += len(messages) - encoded
        self._counts.unsent += encoded - said
        self._counts.sent += said
        return said

    def _handed_over(self, route_id: bytes, frames: list[bytes]) -> bool:
        size = sum(map(len, frames))
        if not self._tenancy.has_room(route_id, size):
            return False
        try:
            self._socket.send(route_id, _MORE)
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
                raise
            return False
        # Once the routing id is taken the rest is: ZeroMQ counts whole messages.
        for frame in frames[:-1]:
            self._socket.send(frame, _MORE)
        self._socket.send(frames[-1], _LAST)
        self._tenancy.handed(route_id, size)
        return True
