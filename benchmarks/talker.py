"""A runner process whose jobs do nothing but talk: each has a log of a given length, sent as fast as it is taken.

What belongs here: the sending side of logs with a window, over the real bulk connection. What does not: spools and
steps, which are the real runner's.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Final

from benchmarks.cluster import Dispatcher, PeerKey, Where, where
from benchmarks.helpers import HELPERS
from benchmarks.noop import NoopRunner, Tally, end
from surveil.core.model import AttemptId
from surveil.net.connection import Connection
from surveil.protocol import CHUNK_BYTES_MAX, Kept, Output, Welcome

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""So much of one log is on the way at once."""
IDLE_MS: Final = 50


@dataclass(slots=True)
class _Log:
    """How far a log is."""

    said: int = 0
    kept: int = 0


async def talk(there: Where, peer: PeerKey, slots: int, log_bytes: int, tally: Tally) -> None:
    """Be a runner whose jobs have logs of so many bytes, until cancelled. `tally.released_at_ns` is when the newest
    byte was kept.
    """
    runner = NoopRunner(peer, slots, holding=True)
    # Text that compresses like text: half of it changes from chunk to chunk.
    words = os.urandom(CHUNK_BYTES_MAX // 2).hex().encode()[:CHUNK_BYTES_MAX]
    chunk, crc = words, zlib.crc32(words)
    logs: dict[AttemptId, _Log] = {}
    async with Connection(there.address, there.server_key, peer.keys) as connection:
        while True:
            now = time.monotonic_ns() // 1_000_000
            for item in (items := await connection.receive(min(IDLE_MS, max(1, runner.timeout_ms(now))))):
                match item:
                    case Welcome(bulk_port=port):
                        connection.use_bulk(port)
                    case Kept(job=job, attempt=attempt, upto=upto) if (job, attempt) in logs:
                        log = logs[job, attempt]
                        log.kept = max(log.kept, upto)
                        tally.released_at_ns.value = time.monotonic_ns()
                        if log.kept >= log_bytes:
                            del logs[job, attempt]
                            runner.end((job, attempt), log_bytes, now)
                            tally.released.value += 1
            runner.take(items, now)
            for message in runner.take_words():
                connection.post(message)
            connection.flush()
            for attempt_id in runner.take_started():
                logs[attempt_id] = _Log()
            for (job, attempt), log in logs.items():
                while log.said < log_bytes and log.said - log.kept < WINDOW_BYTES:
                    data = chunk if log_bytes - log.said >= len(chunk) else chunk[: log_bytes - log.said]
                    check = crc if data is chunk else zlib.crc32(data)
                    if not connection.send(
                        Output(job=job, attempt=attempt, at=log.said, crc=check, after_ms=0, data=data)
                    ):
                        break
                    log.said += len(data)


def _main(there: Where, peer: PeerKey, slots: int, log_bytes: int, tally: Tally) -> None:
    asyncio.run(talk(there, peer, slots, log_bytes, tally))


@contextmanager
def talkers(
    dispatcher: Dispatcher, peers: Sequence[PeerKey], slots: int, log_bytes: int
) -> Iterator[list[tuple[BaseProcess, Tally]]]:
    """One process for each runner, between their start and their end."""
    there = where(dispatcher)
    started: list[tuple[BaseProcess, Tally]] = []
    try:
        for peer in peers:
            tally = Tally()
            process: BaseProcess = HELPERS.Process(
                target=_main, args=(there, peer, slots, log_bytes, tally), daemon=True
            )
            process.start()
            started.append((process, tally))
        yield started
    finally:
        for process, _ in started:
            end(process)
