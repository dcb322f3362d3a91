"""Who may connect: the answer to each CURVE handshake (ZeroMQ's ZAP, RFC 27).

What belongs here: the handler and its life in the event loop. What does not: the table of peers (peers), what a peer
may say (admission).

The handler cannot be killed by what it is asked: whatever goes wrong is answered with 500. If it is dead all the
same, nobody is let in, because the sockets enforce their domain; `server` notices by shaking hands with itself and
starts the handler anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import zmq
from zmq.utils import z85

from surveil.net.counts import ServerCounts
from surveil.net.options import ZAP_DOMAIN
from surveil.net.peers import Peers

ENDPOINT: Final = "inproc://zeromq.zap.01"
STRANGER_PREFIX: Final = "stranger:"
ANSWERS_PER_TURN_MAX: Final = 64

_VERSION: Final = b"1.0"
_OK: Final = b"200"
_FRAMES: Final = 7
_CURVE_KEY_BYTES: Final = 32


class ZapHandler:
    """Answers the handshakes of one context's sockets from `peers`, and counts them in `counts`. `own_key` is let in as
    itself: the watchdog's.
    """

    def __init__(self, context: zmq.Context[Any], peers: Peers, own_key: str, counts: ServerCounts) -> None:
        self._context = context
        self._peers = peers
        self._own_key = own_key
        self._socket: zmq.Socket[bytes] | None = None
        self._counts = counts

    def start(self) -> None:
        """Begin to answer, in the running event loop."""
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            socket.bind(ENDPOINT)
        except zmq.ZMQError:
            socket.close()  # One that is left open would keep the whole context from ending.
            raise
        self._socket = socket
        asyncio.get_running_loop().add_reader(socket.FD, self._answer_waiting)

    def stop(self) -> None:
        """Answer no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.FD)
            # This frees the name at once; a closed socket keeps it until all who ever shook hands are let go of.
            self._socket.unbind(ENDPOINT)
            self._socket.close()
            self._socket = None

    def restart(self) -> None:
        """Begin anew with a new socket, whatever happened to the old one."""
        self.stop()
        self.start()

    def _answer_waiting(self) -> None:
        """Answer until nothing waits: the descriptor does not become ready again for what was left."""
        if self._socket is None:
            return
        for _ in range(ANSWERS_PER_TURN_MAX):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                self._socket.send_multipart(self._reply(frames), zmq.NOBLOCK)
            except zmq.Again:
                return
        asyncio.get_running_loop().call_soon(self._answer_waiting)

    def _reply(self, frames: Sequence[bytes]) -> list[bytes]:
        envelope = list(frames[:2])
        request = frames[2:]
        request_id = request[1] if len(request) > 1 else b""
        self._counts.handshakes += 1
        try:
            status, text, user = self._judge(request)
            if status != _OK:
                self._counts.note("handshakes_refused", _address(request))
        except Exception:  # noqa: BLE001  # An error here, left alone, would lock everybody out in silence; it is counted instead.
            self._counts.handshakes_broken += 1
            status, text, user = b"500", b"the dispatcher failed to judge this key", ""
        return [*envelope, _VERSION, request_id, status, text, user.encode(), b""]

    def _judge(self, request: Sequence[bytes]) -> tuple[bytes, bytes, str]:
        """The status, text and user id for a request: version, id, domain, address, identity, mechanism, key."""
        if len(request) != _FRAMES or request[0] != _VERSION or len(request[6]) != _CURVE_KEY_BYTES:
            return b"400", b"malformed request", ""
        if request[2] != ZAP_DOMAIN or request[5] != b"CURVE":
            return b"400", b"wrong domain or mechanism", ""
        key = z85.encode(request[6]).decode("ascii")
        if key == self._own_key:
            self._counts.handshakes_own += 1
            return _OK, b"OK", key
        if self._peers.admitted(key) is not None:
            return _OK, b"OK", key
        if self._peers.get(key) is None and self._peers.enrolling:
            return _OK, b"OK", STRANGER_PREFIX + key
        return b"400", b"this key is not known here, or was revoked", ""


def _address(request: Sequence[bytes]) -> str:
    """Where a handshake comes from, as ZeroMQ says."""
    return request[3].decode("ascii", "replace").removeprefix("::ffff:") if len(request) == _FRAMES else ""
