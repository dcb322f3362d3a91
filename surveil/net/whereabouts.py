"""On which connection each runner is, and which of them the system has closed.

What belongs here: bookkeeping of keys, routing ids and descriptors. What does not: sockets (server), what a closed
connection means and whose `Hello` is welcome (core): a key may be on two machines, and only one of them is the runner.

The kernel gives a closed connection's descriptor to the next one, so news of a closing may be older than a `Hello`
that came on the same number. A connection's opening is told before its first message, though, and a closing before
the number is given away. Hence the order: messages are read first, then the news, and closings are held against the
`Hello`s of earlier readings; a `Hello` of this reading is gone only if the last news of its number is a closing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import zmq

from surveil.net.monitor import ConnectionEvent

_Connection: TypeAlias = tuple[str, bytes]
"""A runner's key and the routing id of one of its connections."""


class Whereabouts:
    """The connection on which each runner was last welcomed, among all those on which a `Hello` came."""

    def __init__(self) -> None:
        self._routes: dict[str, bytes] = {}
        self._runner_at: dict[int, _Connection] = {}
        self._said_hello: dict[int, _Connection] = {}
        self._open: set[bytes] = set()

    def said_hello(self, runner: str, route_id: bytes, descriptor: int) -> None:
        """A `Hello` came on this connection."""
        self._replace(self._said_hello, descriptor, (runner, route_id))
        self._open.add(route_id)

    def welcomed(self, runner: str, route_id: bytes) -> bool:
        """Make this connection the runner's; False if it has closed since its `Hello`, and so the runner has none."""
        if route_id in self._open:
            self._routes[runner] = route_id
            return True
        self._routes.pop(runner, None)
        return False

    def route_id(self, runner: str) -> bytes | None:
        """Where words to this runner go, if it has a connection."""
        return self._routes.get(runner)

    def follow(self, events: Iterable[ConnectionEvent]) -> list[str]:
        """The runners that lost the connection on which they were welcomed, by all news up to now."""
        gone: list[str] = []
        last: dict[int, int] = {}
        for event in events:
            last[event.value] = event.event
            if event.event == zmq.EVENT_DISCONNECTED:
                self._close(gone, self._runner_at.pop(event.value, None))
        for descriptor, runner in self._said_hello.items():
            if last.get(descriptor) == zmq.EVENT_DISCONNECTED:
                self._close(gone, runner)
            else:
                self._replace(self._runner_at, descriptor, runner)
        self._said_hello.clear()
        return gone

    def _replace(self, table: dict[int, _Connection], descriptor: int, connection: _Connection) -> None:
        """The kernel gives a descriptor to a new connection only when the old one is closed."""
        before = table.get(descriptor)
        if before is not None and before != connection:
            self._open.discard(before[1])
        table[descriptor] = connection

    def _close(self, gone: list[str], connection: _Connection | None) -> None:
        if connection is None:
            return
        self._open.discard(connection[1])
        if self._routes.get(connection[0]) == connection[1]:
            del self._routes[connection[0]]
            gone.append(connection[0])
