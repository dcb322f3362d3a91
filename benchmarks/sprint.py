"""The quickest honest runner: it introduces itself, beats with what it holds, and answers each `Assign` with `Accepted`
and a `Finished` that says passed; what it says at once travels in parcels, as with every runner.

What belongs here: a peer that leaves the machine to the dispatcher, which is what a benchmark of the dispatcher wants.
What does not: the runner's mind; `noop` has that, and takes several times as long for a job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Final

import msgpack
import zmq

from benchmarks.cluster import Dispatcher, PeerKey, Where, where
from benchmarks.helpers import HELPERS
from benchmarks.noop import Tally, end
from surveil.net.options import apply_options, peer_options
from surveil.protocol import (
    HEADERS,
    PARCEL_HEADER,
    PARCEL_MAX,
    Accepted,
    Assign,
    Finished,
    Heartbeat,
    Held,
    Hello,
    Release,
    Welcome,
    encode,
)

HEARTBEAT_S: Final = 1.0
HELLO_AGAIN_S: Final = 0.5
POLL_MS: Final = 100
_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_ASSIGN, _RELEASE, _WELCOME, _ACCEPTED, _FINISHED = (
    HEADERS[kind][-1] for kind in (Assign, Release, Welcome, Accepted, Finished)
)


class _Sprinter:
    """One runner with its socket."""

    def __init__(self, there: Where, peer: PeerKey, slots: int, tally: Tally) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        apply_options(self.socket, peer_options(peer.keys, there.server_key, bulk=False))
        self.socket.connect(str(there.address))
        self._name, self._slots, self._tally = peer.name, slots, tally
        self._incarnation, self._seq, self._due_at, self._welcomed = time.time_ns() >> 20, 0, 0.0, False
        self._held: dict[tuple[str, int], None] = {}

    def run(self) -> None:
        """Run until the process is ended."""
        while True:
            self.socket.poll(POLL_MS)
            released = 0
            while True:
                try:
                    header, body = self.socket.recv_multipart(_NOBLOCK)
                except zmq.Again:
                    break
                released += self._hear(header, msgpack.unpackb(body))
            if released:
                self._tally.released.value += released
                self._tally.released_at_ns.value = time.monotonic_ns()
            if time.monotonic() >= self._due_at:
                self._speak()

    def _hear(self, header: bytes, fields: Any) -> int:
        """Take a message or a parcel of messages; returns how many attempts were released."""
        items = fields if header == PARCEL_HEADER else [header[-1], fields]
        answers: list[Any] = []
        released = 0
        for number, said in zip(items[::2], items[1::2], strict=True):
            if number == _ASSIGN:
                answers += self._answer(said["job"], said["attempt"])
            elif number == _RELEASE:
                self._held.pop((said["job"], said["attempt"]), None)
                released += 1
            elif number == _WELCOME:
                self._welcomed = True
                self._tally.welcomed.value += 1
        for first in range(0, len(answers), 2 * PARCEL_MAX):
            self._say(PARCEL_HEADER, msgpack.packb(answers[first : first + 2 * PARCEL_MAX]))
        return released

    def _answer(self, job: str, attempt: int) -> list[Any]:
        self._held[job, attempt] = None
        passed = {
            "job": job, "attempt": attempt, "outcome": "passed", "reason": "", "exit_code": 0,
            "started_after_ms": 0, "finished_after_ms": 0, "log_bytes": 0, "steps": [], "isolation": "",
        }  # fmt: skip
        return [_ACCEPTED, {"job": job, "attempt": attempt}, _FINISHED, passed]

    def _say(self, header: bytes, body: bytes) -> None:
        self.socket.send(header, _MORE)
        self.socket.send(body, _NOBLOCK)

    def _speak(self) -> None:
        self._seq += 1
        message: Hello | Heartbeat
        if self._welcomed:
            held = tuple(Held(job=job, attempt=attempt, finished=True, log_bytes=0) for job, attempt in self._held)
            message = Heartbeat(
                incarnation=self._incarnation, seq=self._seq, held=held, free=max(0, self._slots - len(held)),
                load_percent=0, disk_free_mib=10_000,
            )  # fmt: skip
        else:
            message = Hello(
                name=self._name, software="bench", host="bench", cluster="", incarnation=self._incarnation,
                birth=1, seq=self._seq, labels=(), slots=self._slots, held=(),
            )  # fmt: skip
        self._due_at = time.monotonic() + (HEARTBEAT_S if self._welcomed else HELLO_AGAIN_S)
        try:
            self._say(*encode(message))
        except zmq.Again:
            self._due_at = time.monotonic() + HELLO_AGAIN_S / 10


def _main(there: Where, peer: PeerKey, slots: int, tally: Tally) -> None:
    _Sprinter(there, peer, slots, tally).run()


@contextmanager
def sprinters(
    dispatcher: Dispatcher, peers: Sequence[PeerKey], slots: int
) -> Iterator[list[tuple[BaseProcess, Tally]]]:
    """One process for each runner, between their start and their end."""
    there = where(dispatcher)
    started: list[tuple[BaseProcess, Tally]] = []
    try:
        for peer in peers:
            tally = Tally()
            process: BaseProcess = HELPERS.Process(target=_main, args=(there, peer, slots, tally), daemon=True)
            process.start()
            started.append((process, tally))
        yield started
    finally:
        for process, _ in started:
            end(process)
