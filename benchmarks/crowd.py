"""Thousands of runners played by a few processes: each has a key and a connection of its own, introduces itself, beats,
and says nothing else.

What belongs here: the cheapest peers that a dispatcher cannot tell from idle runners. What does not: runners that take
jobs (`noop`).
"""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import zmq

from benchmarks.cluster import Dispatcher, PeerKey, Where, let_in, where
from benchmarks.helpers import HELPERS
from benchmarks.noop import end
from surveil.core.peers import Peer, Role
from surveil.net.keys import make_keys
from surveil.net.options import apply_options, peer_options, raise_file_limit
from surveil.protocol import Heartbeat, Hello, Introduce, Message, Welcome, decode_all, encode
from surveil.store.codec import PEER_COLUMNS, peer_row

KNOCKING_MAX: Final = 200
"""So many runners of a process may be on their way in: a crowd that comes as fast as it is let in, and no faster."""
HELLO_AGAIN_S: Final = 3.0
_POLL_MS: Final = 20


class CrowdTally:
    """What a process of a crowd tells, in shared memory."""

    def __init__(self) -> None:
        self.welcomed = HELPERS.Value("q", 0)
        self.beats = HELPERS.Value("q", 0)


@dataclass(slots=True)
class _Member:
    """One runner of the crowd."""

    name: str
    seq: int = 0
    welcomed: bool = False


def let_crowd_in(data: Path, count: int) -> list[PeerKey]:
    """Enrol a crowd in one transaction; the store's own way makes each key durable before the next."""
    let_in(data, [])
    peers = [PeerKey(name=f"crowd-{number}", keys=make_keys()) for number in range(count)]
    now = time.time_ns() // 1_000_000
    database = sqlite3.connect(data / "surveil.db")
    with database:
        database.executemany(
            f"INSERT INTO peers ({', '.join(PEER_COLUMNS)}) VALUES ({', '.join('?' * len(PEER_COLUMNS))})",  # noqa: S608
            [
                peer_row(Peer(key=peer.keys.public, role=Role.RUNNER, name=peer.name, labels=(), created_at=now))
                for peer in peers
            ],
        )
    database.close()
    return peers


class _Crowd:
    """The runners of one process. All share one ROUTER, which connects once for each with its own key and a name of our
    choice for the connection: polling thousands of sockets would cost more than the dispatcher does.
    """

    def __init__(self, there: Where, heartbeat_s: float, tally: CrowdTally) -> None:
        self._there, self._heartbeat_s, self._tally = there, heartbeat_s, tally
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._members: dict[bytes, _Member] = {}
        self._due: list[tuple[float, bytes]] = []

    def run(self, peers: Sequence[PeerKey]) -> None:
        """Connect all, and beat until the process is ended."""
        waiting = list(peers)
        while True:
            while waiting and len(self._members) - self._tally.welcomed.value < KNOCKING_MAX:
                self._connect(waiting.pop())
            self._socket.poll(_POLL_MS)
            self._hear()
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                route_id = heapq.heappop(self._due)[1]
                heapq.heappush(self._due, (now + self._speak(route_id), route_id))

    def _connect(self, peer: PeerKey) -> None:
        route_id = peer.name.encode()
        apply_options(self._socket, peer_options(peer.keys, self._there.server_key, bulk=False))
        # What is said before the connection stands waits for it.
        self._socket.setsockopt(zmq.IMMEDIATE, 0)
        self._socket.setsockopt(zmq.CONNECT_ROUTING_ID, route_id)
        self._socket.connect(str(self._there.address))
        self._members[route_id] = _Member(name=peer.name)
        heapq.heappush(self._due, (time.monotonic(), route_id))

    def _hear(self) -> None:
        while True:
            try:
                route_id, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            member = self._members[route_id]
            for message in decode_all(parts):
                if isinstance(message, Welcome) and not member.welcomed:
                    member.welcomed = True
                    self._tally.welcomed.value += 1
                elif isinstance(message, Introduce):
                    member.welcomed = False

    def _speak(self, route_id: bytes) -> float:
        """Say what is due; returns in how many seconds something is due again."""
        member = self._members[route_id]
        member.seq += 1
        message: Message
        if member.welcomed:
            message = Heartbeat(incarnation=1, seq=member.seq, held=(), free=1, load_percent=0, disk_free_mib=10_000)
        else:
            message = Hello(
                name=member.name, software="bench", host="bench", cluster="", incarnation=1, birth=1, seq=member.seq,
                labels=(), slots=1, held=(),
            )  # fmt: skip
        self._socket.send_multipart([route_id, *encode(message)], zmq.NOBLOCK)
        self._tally.beats.value += member.welcomed
        return self._heartbeat_s if member.welcomed else HELLO_AGAIN_S


def _main(there: Where, peers: Sequence[PeerKey], heartbeat_s: float, tally: CrowdTally) -> None:
    raise_file_limit()
    _Crowd(there, heartbeat_s, tally).run(peers)


@contextmanager
def crowd(
    dispatcher: Dispatcher, peers: Sequence[PeerKey], *, processes: int, heartbeat_s: float
) -> Iterator[list[CrowdTally]]:
    """A crowd between its start and its end."""
    there = where(dispatcher)
    started: list[BaseProcess] = []
    tallies = []
    try:
        for number in range(processes):
            tally = CrowdTally()
            part = peers[number::processes]
            process: BaseProcess = HELPERS.Process(target=_main, args=(there, part, heartbeat_s, tally), daemon=True)
            process.start()
            started.append(process)
            tallies.append(tally)
        yield tallies
    finally:
        for process in started:
            end(process)
