"""Messages that never end: on which connections they come, and cutting those.

What belongs here: how much of a message that is not whole each connection of one socket has brought. What does not:
the socket itself (lane), when to look (server), and how a connection is cut (kernel).

ZeroMQ limits the size of a frame and the number of messages that wait, but not how many frames a message has, nor what
they take until the last one has come. So whoever is let in, even a stranger with a token, could fill our memory with
one message of which we would never hear. But the kernel counts what came in on each connection, and a connection
brings one message after the other: all that came since its last whole message belongs to the next.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import zmq

from surveil.frozen import dataclass
from surveil.net.kernel import borrowed, bytes_read, cookie, hang_up
from surveil.net.monitor import ConnectionEvent
from surveil.protocol import MESSAGE_BYTES_MAX

HELD_BYTES_MAX: Final = 8 * MESSAGE_BYTES_MAX
"""Of one connection. No honest message is larger than an eighth of it."""
HELD_TOGETHER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all connections. A thousand runners, each in the middle of a chunk of output on a slow link, hold as much."""


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
        with suppress(OSError), borrowed(descriptor) as connection:
            number, read = cookie(connection), bytes_read(connection)
            account = self._accounts[descriptor]
            if account is None or account.cookie != number:
                # It is younger than the last look, so all that it brought belongs to its first message, or it spoke.
                self._accounts[descriptor] = _Account(number, 0 if spoke is None else read, read, spoke or "")
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
    address = hang_up(descriptor, account.cookie)
    if address is not None:
        account.cut = True
        yield Hoard(held, address, account.user)
