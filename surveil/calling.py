"""Asks servers of others, most of them over HTTP, and lets none of them lead us where we must not go.

What belongs here: which addresses may be asked, proofs of who we are, and one question with its limits. What does not:
what is asked (`surveil.forge`, `surveil.notify`).

A name is looked up once, all that it leads to is judged, and exactly that is connected to, so that a name cannot mean
one machine when it is judged and another one when it is used. Nobody sends us elsewhere: redirections are answers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import httpx2

from surveil import __version__
from surveil.errors import InfrastructureError
from surveil.frozen import dataclass
from surveil.openness import warn_if_open

TIMEOUT_S: Final = 10.0
"""For all of it, from the name to the last byte."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""What comes after is not read."""
CREDENTIAL_BYTES_MAX: Final = 4096
_PORTS: Final = {"https": 443, "http": 80}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to addresses. Raises OSError."""

_OWN: Final = tuple(
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""What a network of one's own may have; machines that only exist for their neighbours are not among them."""
_WORLD_6: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL_4: Final = ipaddress.IPv4Network("192.0.0.0/24")
"""What the world's addresses are and are not; older versions of Python take some for global that never were."""
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Through it IPv6 reaches every address of IPv4 (RFC 6052)."""


class CallError(InfrastructureError):
    """No answer was to be had: the sentence is a clause about the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said. Names of headers are in small letters. `is_cut` says that the body goes on."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False

    def document(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def objection(host: str, address: str, *, private: bool) -> str:
    """Why `address`, to which the name `host` leads, may not be asked, as a clause; empty if it may.

    Who writes loopback means it. Networks of one's own only with `private`.
    """
    found = _meant(ipaddress.ip_address(address.partition("%")[0]))
    if host.lower().strip("[]") in _LOOPBACK:
        return "" if found.is_loopback else f"leads to {address}, which is not this machine"
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_link_local:
        return f"leads to {address}, where no server of others is"
    if any(found in network for network in _OWN):
        return "" if private else f"leads to {address} in a network of your own: say `private = true` if it is meant"
    known = found.is_global and (found in _WORLD_6 if found.version == 6 else found not in _SPECIAL_4)  # noqa: PLR2004
    return "" if known else f"leads to {address}, where no server of others is"


def words_of(error: Exception) -> str:
    """What went wrong: in the system's own words where it was the network, and not in what Python makes of them."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the system. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def read_credential(path: Path, what: str) -> str:
    """What proves who we are, from its file; read each time, so that it may be changed. Raises InfrastructureError."""
    warn_if_open(path, what)
    try:
        with path.open("rb") as file:
            found = file.read(CREDENTIAL_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InfrastructureError(f"{what} cannot be read from {path}: {why}") from error
    if not found or not found.isprintable():
        raise InfrastructureError(f"the file {path} does not hold {what}: write it there, in one line")
    return found


async def connected(host: str, port: int, *, private: bool, resolve: Resolve = look_up) -> socket.socket:
    """A connection to a server that speaks something else than HTTP, at the first of its addresses that answers.

    Raises:
        CallError: nobody may be asked there.
        OSError: nobody answers.
    """
    failure: OSError | None = None
    for address in await judged_addresses(host, port, private=private, resolve=resolve):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (address, port))
        except BaseException as error:  # Whatever ends it, nobody else closes this.
            made.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            return made
    assert failure is not None, "there was an address"
    raise failure


async def judged_addresses(host: str, port: int, *, private: bool, resolve: Resolve) -> Sequence[str]:
    """All addresses of a name, if all of them may be asked. Raises CallError, or OSError."""
    addresses = await resolve(host, port)
    for address in addresses:
        if because := objection(host, address, private=private):
            raise CallError(because)
    if not addresses:
        raise CallError("has no address")
    return addresses


class Caller:
    """Asks the servers that it is told to, one question after the other, and reads so many bytes of each answer."""

    def __init__(
        self, *, private: bool = False, resolve: Resolve = look_up, answer_bytes_max: int = ANSWER_BYTES_MAX
    ) -> None:
        self._private = private
        self._resolve = resolve
        self._answer_bytes_max = answer_bytes_max
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        verify = await asyncio.to_thread(ssl.create_default_context)
        # A proxy of the environment would be asked for the name once more, and connect to what it finds.
        self._client = httpx2.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None, "it was entered"
        await self._client.aclose()

    async def call(
        self, method: str, url: str, *, headers: Mapping[str, str], document: Any = None, content: bytes | None = None
    ) -> Answer:
        """Ask once, with `document` or with `content`, which is JSON already unless a header says otherwise; return the
        answer, whatever its status.

        Raises:
            CallError: there was no answer, or nobody may be asked at this address.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                written = json.dumps(document).encode() if content is None and document is not None else content
                return await self._call(method, url, headers, written)
        except TimeoutError as error:
            raise CallError(f"does not answer within {TIMEOUT_S:g} s") from error
        except (OSError, UnicodeError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise CallError(f"cannot be reached ({words_of(error)})") from error

    async def _call(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or (parts.scheme == "http" and host not in _LOOPBACK) or parts.username:
            raise CallError("is not asked without encryption, nor with a password in its address: use https")
        port = parts.port or _PORTS[parts.scheme]
        addresses = await judged_addresses(host, port, private=self._private, resolve=self._resolve)
        all_headers = {
            "user-agent": f"surveil/{__version__}", "accept-encoding": "identity",
            **({} if content is None else {"content-type": "application/json"}), **headers, "host": parts.netloc,
        }  # fmt: skip
        failure: httpx2.ConnectError | None = None
        for address in addresses:
            shown = f"[{address}]" if ":" in address else address
            there = urlunsplit((parts.scheme, f"{shown}:{port}", parts.path, parts.query, ""))
            try:
                # The certificate has to be that of the name.
                return await self._ask(method, there, all_headers, content, {"sni_hostname": host})
            except httpx2.ConnectError as error:
                failure = error
        assert failure is not None, "there was an address"
        raise failure

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, more: dict[str, Any]
    ) -> Answer:
        assert self._client is not None, "it was entered"
        async with self._client.stream(method, url, headers=headers, content=content, extensions=more) as answer:
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > self._answer_bytes_max:
                    break
            kept = {name.lower(): value for name, value in answer.headers.items()}
            most = self._answer_bytes_max
            return Answer(status=answer.status_code, headers=kept, body=body[:most], is_cut=len(body) > most)


def _meant(address: _IP) -> _IP:
    """The address of IPv4 that one of IPv6 stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
