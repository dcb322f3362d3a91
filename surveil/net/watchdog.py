"""A handshake with ourselves, which shows that others could connect.

What belongs here: one try. What does not: when to try and what to do when it fails (server).
"""

from __future__ import annotations

from typing import Any, Final

import zmq

from surveil.net.addresses import Address
from surveil.net.keys import KeyPair
from surveil.net.monitor import Monitor
from surveil.net.options import apply_options, peer_options
from surveil.net.reader import Reader

_FAILURES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


async def handshake_succeeds(
    context: zmq.Context[Any], address: Address, *, server_key: str, keys: KeyPair, timeout_ms: int
) -> bool:
    """Whether a peer with `keys` is let in at `address` within `timeout_ms`."""
    socket = context.socket(zmq.DEALER)
    apply_options(socket, peer_options(keys, server_key, bulk=False))
    monitor = Monitor(context, socket, zmq.EVENT_HANDSHAKE_SUCCEEDED | _FAILURES)
    reader = Reader(lambda: (monitor,), monitor.take)
    try:
        socket.connect(str(address))
        events = await reader.read(timeout_ms)
        return bool(events) and events[0].event == zmq.EVENT_HANDSHAKE_SUCCEEDED
    finally:
        reader.forget(monitor)
        monitor.close()
        socket.close()
