"""What a socket's connections go through: opened, closed, let in, turned away.

What belongs here: reading ZeroMQ's monitor events. What does not: what follows from them (server, connection).
"""

from __future__ import annotations

import itertools
import struct
from typing import Any, Final

import zmq

from surveil.frozen import dataclass

EVENTS_PER_TURN_MAX: Final = 65_536
"""More than a process may have connections, so one reading finds all of them."""

_EVENT: Final = struct.Struct("=Hi")
_numbers: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """One event; `value` is the connection's file descriptor, or for a refused handshake its reason."""

    event: int
    value: int


class Monitor:
    """The events of one socket, in the order in which they happened. Made before the socket is bound or connected."""

    def __init__(self, context: zmq.Context[Any], socket: zmq.Socket[Any], events: int) -> None:
        endpoint = f"inproc://monitor-{next(_numbers)}"
        socket.monitor(endpoint, events)
        self._watched = socket
        self._pair = context.socket(zmq.PAIR)
        self._pair.setsockopt(zmq.LINGER, 0)
        # Without room for an event libzmq's own thread would wait for us, and with it every connection. An event is
        # some 60 bytes, and there are at most two for each connection that the kernel accepts.
        self._pair.setsockopt(zmq.RCVHWM, 0)
        self._pair.connect(endpoint)
        self.descriptor = int(self._pair.getsockopt(zmq.FD))
        self.dry = False

    def take(self) -> list[ConnectionEvent]:
        """The events that wait now; never blocks."""
        taken: list[ConnectionEvent] = []
        self.dry = False
        for _ in range(EVENTS_PER_TURN_MAX):
            try:
                frames = self._pair.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self.dry = True
                break
            taken.append(ConnectionEvent(*_EVENT.unpack(frames[0])))
        return taken

    def close(self) -> None:
        """Stop watching; the watched socket must still be open."""
        self._watched.disable_monitor()
        self._pair.close()
