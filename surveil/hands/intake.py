"""The way of a job's output to the disk: from the bulk socket to the log store, past the mind, and back as `Kept`.

What belongs here: batching, ownership, backpressure. What does not: files (store.logs), sockets (net), which logs are
whole (closing).

Nothing is acknowledged before it is durable, and nothing that is refused or cannot be written is acknowledged
at all: runners say it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from surveil.core.model import AttemptId
from surveil.errors import NotAllowedError
from surveil.hands.closing import Closing
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Kept, Message, Output, Refused, Release
from surveil.say import Voice
from surveil.store import Reader, StoreError
from surveil.store.logs import LogClosed, LogRefused, LogStore

PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""More output than this waits in the runners' spools, not in our memory."""
OWNERS_MAX: Final = 10_000
RETRY_S: Final = 1.0
"""How long nothing is written after the disk refused; runners repeat what is not acknowledged."""

voice = Voice("intake")


class _UnknownError(Exception):
    """There is no such attempt: the database was put back to a time before it, or it never was."""


class Pause(Protocol):
    """Leaves the bulk socket unread, or reads it again."""

    def __call__(self, *, paused: bool) -> None:
        """Do it."""


class Intake:
    """Writes output in a thread of its own, batch after batch; every batch is durable before any of it is
    acknowledged.
    """

    def __init__(
        self,
        logs: LogStore,
        reader: Reader,
        closing: Closing,
        *,
        reply: Callable[[Route, Message], bool],
        pause: Pause,
        on_log: Callable[[str, int], None],
        on_refused: Callable[[Sender], object],
    ) -> None:
        self._logs = logs
        self._reader = reader
        self._closing = closing
        self._reply = reply
        self._pause = pause
        self._on_log = on_log
        self._on_refused = on_refused
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="logs")
        self._pending: list[Received] = []
        self._pending_bytes = 0
        self._news = asyncio.Event()
        self._owners: dict[AttemptId, str | None] = {}

    def take(self, received: list[Received]) -> None:
        """Queue chunks for writing; when too much waits, the bulk socket is left unread."""
        if received:
            self._pending += received
            self._pending_bytes += sum(len(_output(item).data) for item in received)
            self._pause(paused=self._pending_bytes > PENDING_BYTES_MAX)
            self._news.set()

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            StoreError: what is durable is not known any more; the process must end.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._pending, self._pending_bytes = self._pending, [], 0
            self._pause(paused=False)
            answers = await loop.run_in_executor(self._thread, self._write, batch)
            for route, answer in answers:
                self._reply(route, answer)
                if isinstance(answer, Kept):
                    self._on_log(answer.job, answer.attempt)
            self._closing.look()

    async def close(self) -> None:
        """Wait for the writing that has begun."""
        self._thread.shutdown()

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _write(self, batch: list[Received]) -> list[tuple[Route, Message]]:
        """Append a batch and make it durable; the answers are true when this returns."""
        refused: list[tuple[Route, Message]] = []
        taken: dict[AttemptId, set[Route]] = {}
        failure: StoreError | None = None
        for item in batch:
            chunk = _output(item)
            key = (chunk.job, chunk.attempt)
            try:
                self._append(item.peer.key, chunk)
            except _UnknownError:
                # Whoever has it would offer it for ever.
                self._on_refused(item.peer)
                refused.append((item.route, Release(job=chunk.job, attempt=chunk.attempt, fate="stale")))
            except (LogRefused, NotAllowedError) as error:
                self._on_refused(item.peer)
                refused.append((item.route, Refused(reason=str(error), exit_code=int(error.exit_code))))
            except StoreError as error:
                failure = error  # Not written and so not acknowledged: the runner keeps it and says it again.
            else:
                taken.setdefault(key, set()).add(item.route)
        if failure is not None:
            voice.error("output cannot be written; it waits with its runners", reason=failure)
            time.sleep(RETRY_S)
        durable = self._logs.flush()
        self._closing.wrote(durable)
        return refused + [
            (route, Kept(job=key[0], attempt=key[1], upto=upto))
            for key, upto in durable.items()
            for route in taken.get(key, ())
        ]

    def _append(self, runner: str, chunk: Output) -> None:
        key = (chunk.job, chunk.attempt)
        owner = self._owner(key)
        if owner is None:
            raise _UnknownError
        if owner != runner:
            raise NotAllowedError(f"attempt {chunk.attempt} of {chunk.job} is not this runner's")
        try:
            self._logs.append(*key, chunk.at, chunk.data, crc=chunk.crc, after_ms=chunk.after_ms)
        except LogClosed:
            self._reopen(key)
            self._logs.append(*key, chunk.at, chunk.data, crc=chunk.crc, after_ms=chunk.after_ms)

    def _reopen(self, key: AttemptId) -> None:
        """Go on with a log that was closed before it was whole: its runner came back after all."""
        attempt = self._reader.attempt(*key)
        end = None if attempt is None else attempt.log_end
        if end is not None and self._logs.length(*key) >= end:
            raise NotAllowedError(f"the log of {key[0]} attempt {key[1]} is whole, as its runner said itself")
        voice.info("a runner came back with more of a log that was closed", job=key[0], attempt=key[1])
        self._logs.reopen(*key)

    def _owner(self, key: AttemptId) -> str | None:
        """The runner that an attempt was given to; an attempt never changes hands."""
        if key not in self._owners:
            if len(self._owners) >= OWNERS_MAX:
                self._owners.pop(next(iter(self._owners)))
            owner = self._reader.owner(*key)
            if owner is None:
                return None
            self._owners[key] = owner
        return self._owners[key]


def _output(received: Received) -> Output:
    assert isinstance(received.message, Output), f"{type(received.message).__name__} came to the bulk socket"
    return received.message
