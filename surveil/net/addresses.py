"""Addresses of dispatchers as people write them, `tcp://HOST:PORT`.

What belongs here: reading and writing the text. What does not: binding and connecting (server, connection).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from surveil.core.spelling import printable
from surveil.errors import UsageError
from surveil.frozen import dataclass, replace

DEFAULT_PORT: Final = 7300
PORT_MAX: Final = 65_535
HOST_CHARACTERS_MAX: Final = 253
"""The longest name that the domain name system allows (RFC 1035)."""

_SHAPE: Final = re.compile(r"(?:tcp://)?(?P<host>\[[^\[\]]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?", re.ASCII)
_EXAMPLE: Final = (
    f"write it as tcp://HOST:PORT, for example tcp://192.0.2.7:{DEFAULT_PORT} or tcp://[2001:db8::7]:{DEFAULT_PORT}"
)
_EVERYWHERE: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # What people write, not what we bind.


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a name, or an IP address without brackets) and a port. Port 0 means any free one, for listening only."""

    host: str
    port: int

    def __str__(self) -> str:
        """The address as people and ZeroMQ write it."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    def with_port(self, port: int) -> Address:
        """The same host, another port."""
        return replace(self, port=port)

    def from_here(self) -> Address:
        """Where a process on this machine reaches what listens on this address."""
        return replace(self, host=_EVERYWHERE.get(self.host, self.host))

    def for_others(self) -> Address:
        """Where other machines reach what listens on this address: where that is everywhere, this machine's own
        address.
        """
        return replace(self, host=_own_host(self.host)) if self.host in _EVERYWHERE else self


def parse_address(text: str, *, listening: bool = False) -> Address:
    """Read an address; `tcp://` may be left out. Port 0 and the host `*` are for `listening` only.

    Raises:
        UsageError: the text is no address; the sentence says how to write one.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{_shown(text)}' is not an address of a dispatcher: {_EXAMPLE}")
    host, port = match["host"], int(match["port"])
    if port > PORT_MAX or (port == 0 and not listening):
        raise UsageError(f"'{_shown(text)}' has a port that does not exist: ports go from 1 to {PORT_MAX}")
    if host.startswith("["):
        return Address(_ipv6(host[1:-1], text), port)
    if host == "*" and listening:
        return Address(host, port)
    if len(host) > HOST_CHARACTERS_MAX or not _NAME.fullmatch(host):
        raise UsageError(f"'{_shown(text)}' does not name a host: {_EXAMPLE}")
    return Address(host, port)


def _shown(text: str) -> str:
    """What was typed, or came in a token, as it may stand in a sentence."""
    return printable(text[:HOST_CHARACTERS_MAX])


def _ipv6(host: str, text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError as error:
        sentence = f"'{_shown(text)}' has brackets around something that is not an IPv6 address: {_EXAMPLE}"
        raise UsageError(sentence) from error


def _own_host(listening: str) -> str:
    """The address that this machine's packets carry on their way out; its name where it has no way out."""
    family, outside = (socket.AF_INET6, "2001:db8::1") if listening == "::" else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only chooses the way. The address is one for documentation.
            probe.connect((outside, DEFAULT_PORT))
        except OSError:
            return socket.gethostname()
        host: str = probe.getsockname()[0]
        return host
