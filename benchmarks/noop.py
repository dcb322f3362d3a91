"""A runner process whose jobs do nothing: the real mind (`surveil.core.run`), the real connection, no disk, no
processes.

What belongs here: hands for the runner's mind that say at once that everything went well. What does not: the real
hands, which spawn processes and are measured by `push`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Final

from benchmarks.cluster import Dispatcher, PeerKey, Where, where
from benchmarks.helpers import HELPERS
from surveil.core.model import AttemptId
from surveil.core.run import handle, next_deadline
from surveil.core.run_events import (
    Collect,
    Collected,
    Connected,
    Disconnected,
    Effect,
    Ended,
    Event,
    Forget,
    LogKept,
    Prepare,
    Prepared,
    Said,
    Send,
    Start,
    Tick,
)
from surveil.core.run_model import RunnerPolicy, RunState
from surveil.net.connection import Connection, Incoming, Link
from surveil.protocol import Assign, Beat, Busy, Cancel, Drain, FromRunner, Introduce, Refused, Release, Welcome

STOP_S: Final = 10.0
IDLE_MS: Final = 500


class NoopRunner:
    """One runner's mind with hands that do nothing; `holding` keeps its jobs running for ever."""

    def __init__(self, peer: PeerKey, slots: int, *, holding: bool = False) -> None:
        self._policy = RunnerPolicy()
        self._state = RunState(
            name=peer.name, host="bench", software="bench", labels=(), slots=slots, incarnation=time.time_ns() >> 20,
            birth=1, disk_free_mib=100_000,
        )  # fmt: skip
        self._holding = holding
        self._started: list[AttemptId] = []
        self._words: list[FromRunner] = []
        self.started_at_ns = 0
        self.released = 0
        self.welcomed = 0

    def take(self, items: Sequence[Incoming], now: int) -> None:
        """Let the mind take what came in, then the time, and do what it asks for."""
        for item in items:
            self.welcomed += isinstance(item, Welcome)
            match item:
                case Link.CONNECTED:
                    self._happen(Connected(), now)
                case Link.DISCONNECTED:
                    self._happen(Disconnected(), now)
                case Welcome() | Beat() | Introduce() | Busy() | Assign() | Cancel() | Release() | Drain() | Refused():
                    self._happen(Said(message=item), now)
                case _:
                    pass
        self._happen(Tick(), now)

    def take_started(self) -> list[AttemptId]:
        """The attempts that were begun since the last call, of a runner that holds them."""
        started, self._started = self._started, []
        return started

    def take_words(self) -> list[FromRunner]:
        """What the mind wants to be said; it repeats what matters."""
        words, self._words = self._words, []
        return words

    def end(self, attempt: AttemptId, log_bytes: int, now: int) -> None:
        """Let a held attempt pass; its log of this length is kept already."""
        self._happen(_passed(attempt, log_bytes), now)
        self._happen(LogKept(id=attempt, upto=log_bytes), now)

    def timeout_ms(self, now: int) -> int:
        """When the mind wants to be asked again."""
        due_at = next_deadline(self._state, now, self._policy)
        return IDLE_MS if due_at is None else min(IDLE_MS, due_at - now)

    def _happen(self, event: Event, now: int) -> None:
        waiting: deque[Event] = deque([event])
        while waiting:
            for effect in handle(self._state, waiting.popleft(), now, self._policy):
                waiting.extend(self._do(effect))

    def _do(self, effect: Effect) -> list[Event]:
        match effect:
            case Send(message=message):
                self._words.append(message)
            case Prepare(id=attempt):
                return [Prepared(id=attempt)]
            case Start(id=attempt):
                self.started_at_ns = time.monotonic_ns()
                if not self._holding:
                    return [_passed(attempt, 0)]
                self._started.append(attempt)
            case Collect(id=attempt):
                return [Collected(id=attempt)]
            case Forget():
                self.released += 1
            case _:
                pass
        return []


def _passed(attempt: AttemptId, log_bytes: int) -> Ended:
    return Ended(
        id=attempt, outcome="passed", reason="", exit_code=0, started_after_ms=0, finished_after_ms=0,
        log_bytes=log_bytes, steps=(),
    )  # fmt: skip


class Tally:
    """What a process of runners tells the benchmark, in shared memory: how many verdicts are on disk, since when, when
    the newest job started, and how often a runner was welcomed. Instants are nanoseconds of the machine's monotonic
    clock.
    """

    def __init__(self) -> None:
        self.released: Synchronized[int] = HELPERS.Value("q", 0)
        self.released_at_ns: Synchronized[int] = HELPERS.Value("q", 0)
        self.started_at_ns: Synchronized[int] = HELPERS.Value("q", 0)
        self.welcomed: Synchronized[int] = HELPERS.Value("q", 0)


async def run_noop(there: Where, peers: Sequence[PeerKey], slots: int, tally: Tally, *, holding: bool) -> None:
    """Be these runners until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    works = [asyncio.create_task(_be(there, peer, slots, tally, holding=holding)) for peer in peers]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*works, stopping], return_when=asyncio.FIRST_COMPLETED)
    for work in (*works, stopping):
        work.cancel()
    await asyncio.gather(*works, stopping, return_exceptions=True)
    for work in done - {stopping}:
        work.result()


async def _be(there: Where, peer: PeerKey, slots: int, tally: Tally, *, holding: bool) -> None:
    runner = NoopRunner(peer, slots, holding=holding)
    async with Connection(there.address, there.server_key, peer.keys) as connection:
        while True:
            now = time.monotonic_ns() // 1_000_000
            items = await connection.receive(runner.timeout_ms(now))
            before = runner.released, runner.started_at_ns, runner.welcomed
            runner.take(items, time.monotonic_ns() // 1_000_000)
            for message in runner.take_words():
                connection.post(message)
            connection.flush()
            if (runner.released, runner.started_at_ns, runner.welcomed) != before:
                tally.released.value += runner.released - before[0]
                tally.released_at_ns.value = time.monotonic_ns()
                tally.started_at_ns.value = runner.started_at_ns
                tally.welcomed.value += runner.welcomed - before[2]


def _main(
    there: Where,
    peers: Sequence[PeerKey],
    slots: int,
    tally: Tally,
    holding: bool,  # noqa: FBT001
) -> None:
    asyncio.run(run_noop(there, peers, slots, tally, holding=holding))


@contextmanager
def noop_runners(
    dispatcher: Dispatcher, groups: Sequence[Sequence[PeerKey]], slots: int, *, holding: bool = False
) -> Iterator[list[tuple[BaseProcess, Tally]]]:
    """One process for each group of runners, between their start and their end."""
    there = where(dispatcher)
    started: list[tuple[BaseProcess, Tally]] = []
    try:
        for group in groups:
            tally = Tally()
            process: BaseProcess = HELPERS.Process(
                target=_main, args=(there, group, slots, tally, holding), daemon=True
            )
            process.start()
            started.append((process, tally))
        yield started
    finally:
        for process, _ in started:
            end(process)


def end(process: BaseProcess) -> None:
    """End a process, stopped ones too, and wait for its end."""
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
    process.join(STOP_S)
    if process.is_alive():
        process.kill()
        process.join()
