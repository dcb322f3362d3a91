"""How our sockets are set, each option with its reason, and what the process must have before the first socket is made.

What belongs here: figures and their reasons. What does not: who uses the sockets (server, connection).

Times are milliseconds where ZeroMQ counts in milliseconds and seconds for the TCP keep-alive, as the kernel has it.
All of it is set before `bind` or `connect`: most options do nothing afterwards.
"""

from __future__ import annotations

import ctypes
import random
import resource
import secrets
from collections.abc import Iterable
from typing import Any, Final

import zmq

from surveil.errors import InfrastructureError
from surveil.frozen import dataclass
from surveil.net.keys import KeyPair
from surveil.protocol import CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX

ZMQ_VERSION_MIN: Final = (4, 3, 5)
ZAP_DOMAIN: Final = b"surveil"
FILES_WANTED: Final = 65_536
FILES_MIN: Final = 1_024
FILES_ADVISED: Final = 8_192
"""With 1024 descriptors a flood of silent connections costs a whole core, with 8192 nothing that can be seen."""
LINGER_MS: Final = 2_000
"""How long a clean stop waits for the last words to leave."""
RECONNECT_MS: Final = (250, 1_250)
_CURVE_BYTES: Final = 64
"""CurveZMQ adds 33 bytes to each frame before its size is checked."""
_BULK_FRAME_BYTES_MAX: Final = CHUNK_BYTES_MAX + 64 * 1024


@dataclass(frozen=True, slots=True)
class SocketOption:
    """One option of a ZeroMQ socket."""

    option: zmq.SocketOption
    value: int | bytes
    why: str


_SHARED: Final = (
    SocketOption(zmq.LINGER, 0, "the default waits for ever when the process ends"),
    SocketOption(zmq.HEARTBEAT_IVL, 5_000, "half-open connections are found and closed; leases do not depend on it"),
    SocketOption(zmq.HEARTBEAT_TIMEOUT, 15_000, "the same, from our side"),
    SocketOption(zmq.HEARTBEAT_TTL, 20_000, "the same, from the peer's side"),
    SocketOption(zmq.TCP_KEEPALIVE, 1, "address translators and firewalls forget idle connections"),
    SocketOption(zmq.TCP_KEEPALIVE_IDLE, 30, "the same"),
    SocketOption(zmq.TCP_KEEPALIVE_INTVL, 10, "the same"),
    SocketOption(zmq.TCP_KEEPALIVE_CNT, 3, "the same"),
    SocketOption(zmq.TCP_MAXRT, 20_000, "bytes that nobody acknowledges end the connection after this"),
    SocketOption(zmq.IPV6, 1, "one socket serves both families"),
)
_CONTROL_WAITING_MAX: Final = 1_000
_BULK_WAITING_MAX: Final = 64
_CONTROL: Final = (
    SocketOption(zmq.SNDHWM, _CONTROL_WAITING_MAX, "small messages; a peer that does not read gets no more than these"),
    SocketOption(zmq.RCVHWM, _CONTROL_WAITING_MAX, "the same, when it is we who do not read"),
    SocketOption(
        zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX + _CURVE_BYTES, "a larger frame ends the connection before it is read"
    ),
)
_BULK: Final = (
    SocketOption(zmq.SNDHWM, _BULK_WAITING_MAX, "64 chunks of 256 KiB are 16 MiB for a peer and direction"),
    SocketOption(zmq.RCVHWM, _BULK_WAITING_MAX, "the same"),
    SocketOption(zmq.MAXMSGSIZE, _BULK_FRAME_BYTES_MAX, "a larger frame ends the connection before it is read"),
)
_SERVER: Final = (
    SocketOption(
        zmq.ROUTER_MANDATORY, 1, "words to a peer that is gone or does not read are refused, not lost in silence"
    ),
    SocketOption(zmq.ROUTER_HANDOVER, 0, "with it a peer that claims another's routing id gets the other's messages"),
    SocketOption(
        zmq.HANDSHAKE_IVL,
        3_000,
        "silent connections are closed soon: at the default of 30 s a flood of them shuts everybody out",
    ),
    SocketOption(zmq.BACKLOG, 1_024, "after our restart all peers come at once"),
    SocketOption(zmq.CURVE_SERVER, 1, "always, on loopback too"),
    SocketOption(zmq.ZAP_DOMAIN, ZAP_DOMAIN, "the domain that our ZAP handler answers for"),
    SocketOption(zmq.ZAP_ENFORCE_DOMAIN, 1, "without a handler nobody is let in, instead of everybody"),
)
_PEER: Final = (
    SocketOption(
        zmq.IMMEDIATE,
        1,
        "while there is no connection sending fails, so that no stale words wait for the next dispatcher",
    ),
    SocketOption(zmq.PROBE_ROUTER, 0, "Hello is our first word, not an empty frame"),
    SocketOption(zmq.HANDSHAKE_IVL, 5_000, "a dispatcher that accepts and says nothing is as good as none"),
    SocketOption(zmq.CONNECT_TIMEOUT, 5_000, "the kernel's own limit is two minutes"),
    SocketOption(
        zmq.RECONNECT_IVL_MAX,
        2_000,
        "after its restart a dispatcher has everybody back within 5 s, however long it was away",
    ),
)


def server_options(keys: KeyPair, *, bulk: bool) -> tuple[SocketOption, ...]:
    """How the dispatcher's sockets are set."""
    lanes = _BULK if bulk else _CONTROL
    secret = SocketOption(zmq.CURVE_SECRETKEY, keys.secret.encode(), "what proves that we are the dispatcher")
    return (*_SHARED, *lanes, *_SERVER, secret)


def backlog_bytes(*, bulk: bool) -> int:
    """What one connection may have brought in whole messages while nobody reads."""
    return _BULK_WAITING_MAX * _BULK_FRAME_BYTES_MAX if bulk else _CONTROL_WAITING_MAX * MESSAGE_BYTES_MAX


def silent_max(*, bulk: bool) -> int:
    """How many connections of one socket may have been let in and not have said a word.

    Idle runners are silent on bulk and speak on control, so they never take more than half of all files for it; and
    whoever speaks always finds room.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (FILES_WANTED if soft == resource.RLIM_INFINITY else soft) // (2 if bulk else 4)


def peer_options(keys: KeyPair, server_key: str, *, bulk: bool) -> tuple[SocketOption, ...]:
    """How the sockets of runners, observers and clients are set. They never have a routing id of their own."""
    lanes = _BULK if bulk else _CONTROL
    return (
        *_SHARED,
        *lanes,
        *_PEER,
        SocketOption(
            zmq.RECONNECT_IVL,
            _reconnect_ms,
            "libzmq's own jitter is the same in every process, so a herd would stay together",
        ),
        SocketOption(zmq.CURVE_SERVERKEY, server_key.encode(), "only this dispatcher is talked to"),
        SocketOption(zmq.CURVE_PUBLICKEY, keys.public.encode(), "who we are"),
        SocketOption(zmq.CURVE_SECRETKEY, keys.secret.encode(), "what proves it"),
    )


def apply_options(socket: zmq.Socket[Any], options: Iterable[SocketOption]) -> None:
    """Set all of them; the socket must be neither bound nor connected yet."""
    for option in options:
        socket.setsockopt(option.option, option.value)


def check_libzmq() -> None:
    """Refuse a libzmq with known holes.

    Raises:
        InfrastructureError: it is older than 4.3.5; before 4.3.3 strangers can block or crash a CURVE server
        (CVE-2020-15166, CVE-2019-13132).
    """
    if zmq.zmq_version_info() < ZMQ_VERSION_MIN:
        raise InfrastructureError(
            f"libzmq {zmq.zmq_version()} has known holes: "
            "type \"python -m pip install --upgrade 'pyzmq>=26'\", which brings 4.3.5 or newer"
        )


def libzmq_version() -> str:
    """The version of libzmq that is loaded."""
    return str(zmq.zmq_version())


def scatter_dice() -> None:
    """Seed the C library's dice, from which libzmq takes the first routing id that it gives to a peer and never seeds
    itself.

    A peer that presents the routing id which libzmq is about to give to somebody else makes libzmq abort the process
    (an assertion in 4.3.5). Unseeded, the first one is the same in every process; seeded, it is one of four thousand
    million that no peer is told.
    """
    ctypes.CDLL(None).srand(secrets.randbits(32))


def allow_files() -> int:
    """Allow this process as many open files as it may have, and return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def raise_file_limit(who: str = "a dispatcher") -> str | None:
    """Allow this process, which is `who`, as many open files as it may have; a connection is a file. Returns a warning
    when those are few.

    Raises:
        InfrastructureError: the hard limit is below what it can work with.
    """
    most = allow_files()
    if most < FILES_MIN:
        raise InfrastructureError(
            f"this process may open only {most} files, and {who} needs {FILES_MIN}: "
            f"type 'ulimit -n {FILES_ADVISED}' before starting it"
        )
    if most < FILES_ADVISED:
        return (
            f"this process may open only {most} files; each connection takes one, and a flood of connections is cheap "
            f"to bear only from {FILES_ADVISED} on: type 'ulimit -n {FILES_ADVISED}' before starting it"
        )
    return None


_reconnect_ms: Final = random.SystemRandom().randint(*RECONNECT_MS)
"""This process's pace of reconnecting, drawn once."""
