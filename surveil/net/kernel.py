"""What the kernel says of libzmq's connections, and ending one of them.

What belongs here: figures of one descriptor, on Linux. What does not: what follows from them (endless, tenancy).

The descriptors are libzmq's own, and it may close one at any moment and the kernel give its number to something else.
So each question may fail, and whoever ends a connection names its cookie, which no other ever has.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SO_COOKIE: Final = 57
"""Linux's number of a socket; the module `socket` has no name for it."""
_BYTES_ACKED_AT: Final = 120
_BYTES_RECEIVED_AT: Final = 128
"""Where these are in Linux's `struct tcp_info`, since 4.1."""
_U64: Final = struct.Struct("=Q")
_ABORT: Final = struct.pack("ii", 1, 0)


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket of libzmq, which stays open and as it is. Raises OSError if it is closed."""
    connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()


def cookie(connection: socket.socket) -> bytes:
    """The number of this socket, which no other one ever has. Raises OSError."""
    return connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _U64.size)


def bytes_read(connection: socket.socket) -> int:
    """How many bytes libzmq has taken off this connection. Raises OSError."""
    return _figure(connection, _BYTES_RECEIVED_AT) - _queued(connection, termios.FIONREAD)


def bytes_written(connection: socket.socket) -> int:
    """How many bytes libzmq has given to the kernel on this connection. Raises OSError."""
    return _figure(connection, _BYTES_ACKED_AT) + _queued(connection, termios.TIOCOUTQ)


def hang_up(descriptor: int, named: bytes) -> str | None:
    """End the connection with this cookie, as if its peer had closed it; returns its peer's address.

    None if it is not there any more. libzmq finds an end on its descriptor and lets go of what it held. Should it
    close the descriptor itself in the microseconds between the comparison and the end, and something else get its
    number, at worst another connection has to be made anew.
    """
    with suppress(OSError), borrowed(descriptor) as connection:
        if cookie(connection) == named:
            address = str(connection.getpeername()[0]).removeprefix("::ffff:")
            # So that libzmq's `close` is heard at the other end, which does not listen while it waits for room to send.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            connection.shutdown(socket.SHUT_RDWR)
            return address
    return None


def _figure(connection: socket.socket, at: int) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, at + _U64.size)
    return int(_U64.unpack_from(info, at)[0])


def _queued(connection: socket.socket, what: int) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(connection, what, waiting)
    return waiting[0]
