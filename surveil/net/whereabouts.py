"""On which connection each runner is, and which of them the system has closed.

What belongs here: bookkeeping of keys, routing ids and descriptors. What does not: sockets (server), what a closed
connection means (core).

The kernel gives a closed connection's descriptor to the next one, so news of a closing may be older than a `Hello`
that came on the same number. A connection's opening is told before its first message, though, and a closing before
the number is given away. Hence the order: messages are read first, then the news, and closings are held against the
`Hello`s of earlier readings; a `Hello` of this reading is gone only if the last news of its number is a closing.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from surveil.net.monitor import ConnectionEvent


class Whereabouts:
    """The connection of each runner's latest `Hello`."""

    def __init__(self) -> None:
        self._routes: dict[str, bytes] = {}
        self._runner_at: dict[int, tuple[str, bytes]] = {}
        self._said_hello: dict[int, tuple[str, bytes]] = {}

    def said_hello(self, runner: str, route_id: bytes, descriptor: int) -> None:
        """A `Hello` came on this connection; from now on it is the runner's."""
        self._routes[runner] = route_id
        self._said_hello[descriptor] = (runner, route_id)

    def route_id(self, runner: str) -> bytes | None:
        """Where words to this runner go, if it has a connection."""
        return self._routes.get(runner)

    def follow(self, events: Iterable[ConnectionEvent]) -> list[str]:
        """The runners that lost the connection of their latest `Hello`, by all news up to now."""
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
                self._runner_at[descriptor] = runner
        self._said_hello.clear()
        return gone

    def _close(self, gone: list[str], connection: tuple[str, bytes] | None) -> None:
        if connection is not None and self._routes.get(connection[0]) == connection[1]:
            del self._routes[connection[0]]
            gone.append(connection[0])
