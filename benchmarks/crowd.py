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
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import zmq

from benchmarks.cluster import Dispatcher, PeerKey, Where, let_in, where
from benchmarks.noop import SPAWN, end
from surveil.net.keys import make_keys
from surveil.net.options import apply_options, peer_options, raise_file_limit
from surveil.protocol import Heartbeat, Hello, Introduce, Message, Welcome, decode, encode

KNOCKING_MAX: Final = 200
"""So many runners of a process may be on their way in: a crowd that comes as fast as it is let in, and no faster."""
HELLO_AGAIN_S: Final = 3.0
_POLL_MS: Final = 20


class CrowdTally:
    """What a process of a crowd tells, in shared memory."""

    def __init__(self) -> None:
        self.welcomed = SPAWN.Value("q", 0)
        self.beats = SPAWN.Value("q", 0)


@dataclass(slots=True)
class _Member:
    """One runner of the crowd."""

    name: str
    socket: zmq.Socket[bytes]
    seq: int = 0
    welcomed: bool = False
    due_at: float = field(default=0.0)


def let_crowd_in(data: Path, count: int) -> list[PeerKey]:
    """Enrol a crowd in one transaction; the store's own way makes each key durable before the next."""
    let_in(data, [])
    peers = [PeerKey(name=f"crowd-{number}", keys=make_keys()) for number in range(count)]
    now = time.time_ns() // 1_000_000
    database = sqlite3.connect(data / "surveil.db")
    with database:
        database.executemany(
            "INSERT INTO peers (key, role, name, labels, created_at) VALUES (?, 'runner', ?, '[]', ?)",
            [(peer.keys.public, peer.name, now) for peer in peers],
        )
    database.close()
    return peers


def _main(there: Where, peers: Sequence[PeerKey], heartbeat_s: float, tally: CrowdTally) -> None:
    raise_file_limit()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
    context.set(zmq.MAX_SOCKETS, len(peers) + 16)
    poller = zmq.Poller()
    members: dict[zmq.Socket[bytes], _Member] = {}
    due: list[tuple[float, int, _Member]] = []
    waiting = list(peers)
    while True:
        now = time.monotonic()
        while waiting and len(members) - tally.welcomed.value < KNOCKING_MAX:
            peer = waiting.pop()
            socket = context.socket(zmq.DEALER)
            apply_options(socket, peer_options(peer.keys, there.server_key, bulk=False))
            socket.connect(str(there.address))
            poller.register(socket, zmq.POLLIN)
            members[socket] = _Member(name=peer.name, socket=socket, due_at=now + 0.2)
            heapq.heappush(due, (now + 0.2, id(members[socket]), members[socket]))
        for socket, _ in poller.poll(_POLL_MS):
            _hear(members[socket], tally)
        now = time.monotonic()
        while due and due[0][0] <= now:
            member = heapq.heappop(due)[2]
            wait_s = _speak(member, heartbeat_s, tally)
            heapq.heappush(due, (now + wait_s, id(member), member))


def _hear(member: _Member, tally: CrowdTally) -> None:
    while True:
        try:
            message = decode(member.socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return
        if isinstance(message, Welcome) and not member.welcomed:
            member.welcomed = True
            tally.welcomed.value += 1
        elif isinstance(message, Introduce):
            member.welcomed = False


def _speak(member: _Member, heartbeat_s: float, tally: CrowdTally) -> float:
    """Say what is due; returns when something is due again."""
    member.seq += 1
    message: Message
    if member.welcomed:
        message = Heartbeat(incarnation=1, seq=member.seq, held=(), free=1, load_percent=0, disk_free_mib=10_000)
    else:
        message = Hello(
            name=member.name, software="bench", host="bench", cluster="", incarnation=1, seq=member.seq, labels=(),
            slots=1, held=(),
        )  # fmt: skip
    try:
        member.socket.send_multipart(encode(message), zmq.NOBLOCK)
    except zmq.Again:
        member.seq -= 1
        return 0.1
    tally.beats.value += member.welcomed
    return heartbeat_s if member.welcomed else HELLO_AGAIN_S


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
            process: BaseProcess = SPAWN.Process(target=_main, args=(there, part, heartbeat_s, tally), daemon=True)
            process.start()
            started.append(process)
            tallies.append(tally)
        yield tallies
    finally:
        for process in started:
            end(process)
