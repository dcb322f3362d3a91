"""Connections, before anybody is known: how long a peer may take to say what it wants, and how many there may be.

What belongs here: time and number of connections. What does not: requests that are whole (`front`, `limits`,
`allowing`).

Whoever connects and says nothing, or a byte now and then, takes a file of this process for as long as it lets them; so
there is an end to that which no peer can put off. The server itself knows one only for who comes again.

Where all connections are taken, whoever comes from an address that has fewer of them takes one over from the address
that has most: one alone cannot keep the others out, and nobody is counted while there is room.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from math import inf
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from surveil.net.options import FILES_ADVISED, allow_files, raise_file_limit
from surveil.say import Voice
from surveil.web.allowing import address_of
from surveil.web.limits import BODY_BYTES_MAX as LIMITED_TO

HEAD_S: Final = 15.0
"""From the connection, or from the first byte of a further request, to the last header."""
BODY_S: Final = 60.0
"""From there to the last byte of the body, of which there is a megabyte at most."""
BODY_BYTES_MAX: Final = 4 * LIMITED_TO
"""Whoever goes on after that was told long ago that it is too much, and reads no answers."""
UNREAD_MS: Final = 120_000
"""Whoever takes nothing of an answer for so long has gone; a stream of events goes on where it was."""
SAID_AGAIN_S: Final = 60.0
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_PATIENCE_S: Final = {h11.IDLE: HEAD_S, h11.SEND_BODY: BODY_S}
"""By what the peer has yet to send."""

voice = Voice("web")


class Bounded(H11Protocol):
    """HTTP for one peer, who has said what it wants in time."""

    most = 700
    """How many connections there may be; the rest of the files is for logs, databases and the dispatcher. This many
    where nobody has made room for more.
    """

    _held: ClassVar[dict[str, dict[Bounded, None]]] = {}
    """The connections of each address, the latest at the end."""

    _owes: Any = None
    _body_bytes = 0
    _address = ""
    giving_up: asyncio.TimerHandle | None = None
    """The end of their time, while it runs."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
        """Somebody is there."""
        super().connection_made(transport)
        self._address = address_of({"client": self.client})
        self._held.setdefault(self._address, {})[self] = None
        if len(self.connections) > self.most:
            given_up = self._given_up()
            given_up.let_go()
            given_up.transport.abort()
            if given_up is self:
                return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """They said something."""
        super().data_received(data)
        self._wait()
        self._body_bytes = self._body_bytes + len(data) if self._owes is h11.SEND_BODY else 0
        if self._body_bytes > BODY_BYTES_MAX:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        if self.giving_up is not None:
            self.giving_up.cancel()
        self.let_go()
        super().connection_lost(exc)

    def let_go(self) -> None:
        """Count it no more; it ends in a moment, or has."""
        mine = self._held.get(self._address, {})
        mine.pop(self, None)
        if not mine:
            self._held.pop(self._address, None)

    def _given_up(self) -> Bounded:
        """The connection that is one too many: the latest of the address that has most, and ours where that has as
        many.
        """
        mine, most = self._held[self._address], max(self._held.values(), key=len)
        return self if len(mine) >= len(most) else next(reversed(most))

    def _wait(self) -> None:
        """Give them their time once for each part of a request, however many pieces it comes in."""
        owes = self.conn.their_state
        if owes is self._owes:
            return
        self._owes = owes
        if self.giving_up is not None:
            self.giving_up.cancel()
        patience_s = _PATIENCE_S.get(owes)
        self.giving_up = None if patience_s is None else self.loop.call_later(patience_s, self.transport.abort)


def make_room() -> str | None:
    """Let as many connect as this process may have files for, but for a quarter of these. Returns a warning when those
    are few.

    Raises:
        InfrastructureError: they are too few to serve anybody.
    """
    warning = raise_file_limit("`web`")
    files = allow_files()
    Bounded.most = files - files // 4
    return warning


class Complaints:
    """What a loop says of what went wrong in it. That there are no files left it says for each who waits to connect, a
    thousand times a second; here that is said now and then.
    """

    def __init__(self) -> None:
        self._said_at = -inf

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what the loop would say; it calls this."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_FILES):
            loop.default_exception_handler(context)
        elif loop.time() - self._said_at >= SAID_AGAIN_S:
            self._said_at = loop.time()
            voice.error(
                f"Nobody else can connect, as this process has no files left ({error.strerror}): type "
                f"'ulimit -n {FILES_ADVISED}' before starting it."
            )


def leave_unread(listener: socket.socket) -> None:
    """Have the system end connections of this listener whose peers take nothing any more."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
