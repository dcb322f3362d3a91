"""The way of a job's output to the disk: from the bulk socket to the log store, past the mind, and back as `Kept`.

What belongs here: batching, ownership, backpressure, and closing a log that is whole. What does not: files
(store.logs), sockets (net).

Nothing is acknowledged before it is durable, and nothing that is refused or cannot be written is acknowledged
at all: runners say it again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from surveil.core.model import AttemptId
from surveil.errors import NotAllowedError
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Finished, Kept, Message, Output, Refused
from surveil.say import Voice
from surveil.store import Reader, StoreError
from surveil.store.logs import LogRefused, LogStore

PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""More output than this waits in the runners' spools, not in our memory."""
OWNERS_MAX: Final = 10_000
ENDS_MAX: Final = 100_000
RETRY_S: Final = 1.0
"""How long nothing is written after the disk refused; runners repeat what is not acknowledged."""

voice = Voice("intake")


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
        *,
        reply: Callable[[Route, Message], bool],
        pause: Pause,
        on_log: Callable[[str, int], None],
        on_refused: Callable[[Sender], object],
    ) -> None:
        self._logs = logs
        self._reader = reader
        self._reply = reply
        self._pause = pause
        self._on_log = on_log
        self._on_refused = on_refused
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="logs")
        self._pending: list[Received] = []
        self._pending_bytes = 0
        self._news = asyncio.Event()
        self._owners: dict[AttemptId, str | None] = {}
        self._ends: dict[tuple[AttemptId, str], int] = {}
        """How long logs will be whose attempts have ended, and who says so; they are closed when they are whole."""
        self._durable: OrderedDict[AttemptId, int] = OrderedDict()
        self._closing: asyncio.Task[None] | None = None

    def take(self, received: list[Received]) -> None:
        """Queue chunks for writing; when too much waits, the bulk socket is left unread."""
        if received:
            self._pending += received
            self._pending_bytes += sum(len(_output(item).data) for item in received)
            self._pause(paused=self._pending_bytes > PENDING_BYTES_MAX)
            self._news.set()

    def note(self, runner: str, said: Message) -> None:
        """Learn from a runner's word how long a log will be, to close it when it is whole.

        Whether the log is this runner's is asked then: whoever could close another's log could cut it off.
        """
        if isinstance(said, Finished) and said.log_bytes:
            if len(self._ends) >= ENDS_MAX:
                self._ends.pop(next(iter(self._ends)))
            # The first word counts, as with verdicts; an honest runner says the same again.
            self._ends.setdefault(((said.job, said.attempt), runner), said.log_bytes)
            self._news.set()

    def end(self, job: str, attempt: int) -> int:
        """How many bytes of this attempt's log are certainly durable; 0 where this process has not written any."""
        return self._durable.get((job, attempt), 0)

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
            if self._ends and (self._closing is None or self._closing.done()):
                self._closing = asyncio.create_task(asyncio.to_thread(self._close_whole))

    async def close(self) -> None:
        """Wait for the writing that has begun."""
        if self._closing is not None:
            await asyncio.gather(self._closing, return_exceptions=True)
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
        for key, upto in durable.items():
            self._durable[key] = upto
            self._durable.move_to_end(key)
            if len(self._durable) > ENDS_MAX:
                self._durable.popitem(last=False)
        return refused + [
            (route, Kept(job=key[0], attempt=key[1], upto=upto))
            for key, upto in durable.items()
            for route in taken.get(key, ())
        ]

    def _append(self, runner: str, chunk: Output) -> None:
        key = (chunk.job, chunk.attempt)
        if self._owner(key) != runner:
            raise NotAllowedError(f"attempt {chunk.attempt} of {chunk.job} is not this runner's")
        self._logs.append(*key, chunk.at, chunk.data, crc=chunk.crc, after_ms=chunk.after_ms)

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

    def _close_whole(self) -> None:
        """Compress logs of which every byte is here."""
        for (key, runner), end in list(self._ends.items()):
            if self._durable.get(key, 0) >= end:
                try:
                    finished = self._reader.owner(*key) != runner or self._logs.finish(*key, end)
                except StoreError as error:
                    voice.warning("a finished log stays uncompressed", job=key[0], attempt=key[1], reason=error)
                    finished = True
                if finished:
                    self._ends.pop((key, runner), None)


def _output(received: Received) -> Output:
    assert isinstance(received.message, Output), f"{type(received.message).__name__} came to the bulk socket"
    return received.message
