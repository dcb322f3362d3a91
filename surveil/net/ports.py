"""Getting a port to listen on, or a sentence on why not.

What belongs here: binding and what can go wrong with it. What does not: how sockets are set (options).
"""

from __future__ import annotations

import errno
from typing import Any

import zmq

from surveil.errors import InfrastructureError
from surveil.net.addresses import PORT_MAX, Address


def listen(socket: zmq.Socket[Any], address: Address) -> int:
    """Bind the socket and return its port, which is a free one where the address says 0.

    Raises:
        InfrastructureError: the port cannot be had; the sentence says why and what to do.
    """
    if address.port > PORT_MAX:
        raise InfrastructureError(
            f"there is no port {address.port} for bulk after {address.port - 1}: choose a smaller one with --listen"
        )
    try:
        socket.bind(str(address))
    except zmq.ZMQError as error:
        raise InfrastructureError(_cannot_listen(address, error)) from error
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def _cannot_listen(address: Address, error: zmq.ZMQError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {address.port} of {address.host} is taken by another process: "
                f"find it with 'ss -ltnp sport = :{address.port}' and stop it, "
                "or choose another port with --listen tcp://HOST:PORT (the port after it is used as well)"
            )
        case errno.EACCES:
            return (
                f"this user may not listen on port {address.port}: choose one above 1023 with --listen tcp://HOST:PORT"
            )
        case errno.EADDRNOTAVAIL | errno.ENODEV:
            return f"this machine does not have the address {address.host}: 'ip address' lists those that it has"
        case _:
            return f"listening on {address} is impossible: {error.strerror}"
