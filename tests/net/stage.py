"""A dispatcher's server on loopback with enrolled peers, and peers that behave well or badly."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from surveil.core.peers import Peer, Role
from surveil.net.addresses import Address
from surveil.net.connection import Connection, Incoming, Link
from surveil.net.keys import KeyPair, make_keys
from surveil.net.options import apply_options, peer_options
from surveil.net.peers import Peers
from surveil.net.server import Server
from surveil.net.traffic import Batch, Received
from surveil.protocol import Heartbeat, Hello, Message, Output, decode

PORT_MIN = 10_000
PATIENCE_MS = 60_000
"""So long a test waits for what must come; it is only ever spent by a test that fails."""

HELLO = Hello(
    name="spare-2",
    software="0.1.0",
    host="box",
    cluster="c",
    incarnation=1,
    birth=1,
    seq=1,
    labels=("linux",),
    slots=1,
    held=(),
)
BEAT = Heartbeat(incarnation=1, seq=2, held=(), free=1, load_percent=1, disk_free_mib=1)
OUTPUT = Output(job="1/test", attempt=1, at=0, crc=0, after_ms=0, data=b"line\n")


@dataclass
class Stage:
    """A running server, with the table of peers that a test may change."""

    server: Server
    peers: Peers
    server_keys: KeyPair
    clock: list[int] = field(default_factory=lambda: [1_000])

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server.control_port)

    def enrol(self, role: Role = Role.RUNNER, *, name: str = "", labels: tuple[str, ...] = ()) -> KeyPair:
        keys = make_keys()
        self.peers.put(Peer(key=keys.public, role=role, name=name, labels=labels))
        return keys

    def connection(self, keys: KeyPair) -> Connection:
        return Connection(self.address, self.server_keys.public, keys)

    async def gather(self, enough: Callable[[Batch], bool]) -> Batch:
        """All that comes in until it is enough; every `Hello` is welcome."""
        total = Batch()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not enough(total):
                batch = await self.server.receive(20)
                for received in batch.control:
                    hello, key = isinstance(received.message, Hello), received.peer.key
                    if hello and not self.server.welcome(key, received.route):
                        total.gone.append(key)
                total.control += batch.control
                total.bulk += batch.bulk
                total.gone += batch.gone
        return total

    def say(self, runner: str, *messages: Message) -> bool:
        """Say something to a runner where it was welcomed; False if it cannot be said."""
        route = self.server.route(runner)
        return route is not None and self.server.reply(route, *messages)

    async def next_control(self) -> Received:
        (received,) = (await self.gather(lambda batch: bool(batch.control))).control
        return received

    async def counted(self, name: str, at_least: int = 1) -> Batch:
        """Serve until one of the server's counts is reached; whatever came in meanwhile."""
        return await self.gather(lambda _: getattr(self.server.counts, name) >= at_least)


@asynccontextmanager
async def serving(
    port: int = 0, server_keys: KeyPair | None = None, peers: Peers | None = None
) -> AsyncIterator[Stage]:
    clock = [1_000]
    keys = server_keys or make_keys()
    table = peers if peers is not None else Peers(lambda: clock[0])
    async with Server(Address("127.0.0.1", port), keys, table) as server:
        yield Stage(server, table, keys, clock)


async def until(connection: Connection, wanted: Callable[[Incoming], bool]) -> list[Incoming]:
    """What a peer hears, up to and with what is wanted."""
    heard: list[Incoming] = []
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not any(map(wanted, heard)):
            heard += await connection.receive(PATIENCE_MS)
    return heard


async def connected(connection: Connection) -> None:
    await until(connection, lambda item: item is Link.CONNECTED)


@contextmanager
def raw_peer(stage: Stage, keys: KeyPair, *, bulk: bool = False, routing_id: bytes = b"") -> Iterator[zmq.Socket[Any]]:
    """A peer that says what it likes, with the right key: a broken or a broken-into one."""
    context: zmq.Context[Any] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    apply_options(peer, peer_options(keys, stage.server_keys.public, bulk=bulk))
    if routing_id:
        peer.setsockopt(zmq.ROUTING_ID, routing_id)
    port = stage.server.bulk_port if bulk else stage.server.control_port
    peer.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield peer
    finally:
        peer.close(0)
        context.term()


async def say(peer: zmq.Socket[Any], frames: list[bytes]) -> None:
    """Send from a raw peer as soon as it is connected, without holding up the server in the same loop."""
    await _ready(peer, zmq.POLLOUT)
    peer.send_multipart(frames, zmq.NOBLOCK)


async def hear(peer: zmq.Socket[Any]) -> Message:
    await _ready(peer, zmq.POLLIN)
    return decode(peer.recv_multipart(zmq.NOBLOCK))


async def _ready(peer: zmq.Socket[Any], event: int) -> None:
    assert await asyncio.to_thread(peer.poll, PATIENCE_MS, event), "the raw peer waited in vain"


def free_ports() -> int:
    """A port that is free together with the one after it, and that the system gives to nobody who asks for any port."""
    given_out_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = random.SystemRandom().randrange(PORT_MIN, given_out_from - 1, 2)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
