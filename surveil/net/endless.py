"""Messages that never end: on which connections they come, and cutting those.

What belongs here: how much of a message that is not whole each connection of one socket has brought. What does not:
the socket itself (lane), and when to look (server).

ZeroMQ limits the size of a frame and the number of messages that wait, but not how many frames a message has, nor what
they take until the last one has come. So whoever is let in, even a stranger with a token, could fill our memory with
one message of which we would never hear. But the kernel counts what came in on each connection, and a connection
brings one message after the other: all that came since its last whole message belongs to the next.

The connection is cut with `shutdown` on libzmq's own descriptor: it finds an end there, as if the peer had closed, and
lets go of what it held. Should it close the descriptor itself in the microseconds between our look and the cut, and
something else get its number, at worst another connection has to be made anew.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import zmq

from surveil.net.monitor import ConnectionEvent
from surveil.protocol import MESSAGE_BYTES_MAX

HELD_BYTES_MAX: Final = 8 * MESSAGE_BYTES_MAX
"""Of one connection. No honest message is larger than an eighth of it."""
HELD_TOGETHER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all connections. A thousand runners, each in the middle of a chunk of output on a slow link, hold as much."""

_SO_COOKIE: Final = 57
"""Linux's number of a socket, which no other ever has; the module `socket` has no name for it."""
_BYTES_RECEIVED_AT: Final = 128
"""Where `tcpi_bytes_received` is in Linux's `struct tcp_info`, since 4.1."""
_U64: Final = struct.Struct("=Q")
_ABORT: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Hoard:
    """A connection that was cut: what it held in a message that was not whole, and who is at its other end. `user` is
    empty if it never said a whole message.
    """

    held: int
    address: str
    user: str


@dataclass(slots=True)
class _Account:
    cookie: bytes
    floor: int
    """What had been read when the last whole message was taken, or later."""
    read: int
    """What libzmq had read at the latest look that was settled."""
    user: str = ""
    cut: bool = False
    """Whether it was cut already, and libzmq has yet to find the end."""


class Endless:
    """Watches the connections of one socket. `backlog_bytes` is what may wait in whole messages while we do not read.

    On systems other than Linux nothing is known of connections, and nothing is cut.
    """

    def __init__(self, backlog_bytes: int) -> None:
        self._backlog_bytes = backlog_bytes
        self._accounts: dict[int, _Account | None] = {}
        self._spoke: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def suspects(self) -> bool:
        """Whether somebody brought too much by the latest look, unless the end of it was under way."""
        accounts = (account for account in self._accounts.values() if account is not None and not account.cut)
        return any(account.read - account.floor > HELD_BYTES_MAX for account in accounts)

    def follow(self, event: ConnectionEvent) -> None:
        """Take note of a connection that opened or closed."""
        if sys.platform != "linux":
            return
        if event.event == zmq.EVENT_ACCEPTED:
            self._accounts[event.value] = None
        elif event.event == zmq.EVENT_DISCONNECTED:
            self._accounts.pop(event.value, None)

    def spoke(self, descriptor: int, user: str) -> None:
        """A whole message was taken from this connection."""
        self._spoke[descriptor] = user

    def cut(self, *, settled: bool) -> list[Hoard]:
        """Cut who holds too much. `settled` says that all whole messages were taken which waited at the last look."""
        spoke, self._spoke = self._spoke, {}
        held = {fd: held for fd in tuple(self._accounts) if (held := self._held(fd, spoke.get(fd), settled=settled))}
        bound = HELD_BYTES_MAX if settled else HELD_BYTES_MAX + self._backlog_bytes
        together = sum(held.values())
        hoards: list[Hoard] = []
        for descriptor, size in sorted(held.items(), key=lambda item: -item[1]):
            if size <= bound and not (settled and together > HELD_TOGETHER_BYTES_MAX):
                break
            together -= size
            account = self._accounts[descriptor]
            assert account is not None, "a connection without an account holds nothing"
            hoards += _cut(descriptor, account, size)
        return hoards

    def _held(self, descriptor: int, spoke: str | None, *, settled: bool) -> int:
        """What the connection held at the last look, if it has ended no message since; what it brought up to now, if
        that is not known.
        """
        with suppress(OSError), _borrowed(descriptor) as connection:
            cookie, read = _cookie(connection), _bytes_read(connection)
            account = self._accounts[descriptor]
            if account is None or account.cookie != cookie:
                # It is younger than the last look, so all that it brought belongs to its first message, or it spoke.
                self._accounts[descriptor] = _Account(cookie, 0 if spoke is None else read, read, spoke or "")
                return 0
            if account.cut:
                return 0
            if spoke is not None:
                account.user, account.floor, account.read = spoke, read, read
                return 0
            if not settled:
                return read - account.floor
            held, account.read = account.read - account.floor, read
            return held
        # It was closed, and the news of it is under way.
        return 0


def give_memory_back() -> None:
    """Return what libzmq has freed to the system: a C library keeps much of it, as somebody might want it again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # Of glibc alone; others keep less.
    if trim is not None:
        trim(0)


def _cut(descriptor: int, account: _Account, held: int) -> Iterator[Hoard]:
    with suppress(OSError), _borrowed(descriptor) as connection:
        if _cookie(connection) == account.cookie:
            address = str(connection.getpeername()[0]).removeprefix("::ffff:")
            # So that libzmq's `close` is heard at the other end, which does not listen while it waits for room to send.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            connection.shutdown(socket.SHUT_RDWR)
            account.cut = True
            yield Hoard(held, address, account.user)


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket of libzmq, which stays open and as it is. Raises OSError if it is closed."""
    connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()


def _cookie(connection: socket.socket) -> bytes:
    return connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _U64.size)


def _bytes_read(connection: socket.socket) -> int:
    """How many bytes libzmq has taken off this connection."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED_AT + _U64.size)
    waiting = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, waiting)
    return int(_U64.unpack_from(info, _BYTES_RECEIVED_AT)[0]) - waiting[0]
