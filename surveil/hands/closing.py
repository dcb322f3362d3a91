"""Closing of logs: one that is whole soon after its last byte, any other when nobody is expected to deliver more of it.

What belongs here: which logs still take more, how long each will be, and when it is closed. What does not: the way of
the bytes (`intake`), files (`store.logs`), and who may say how long a log is (the mind, and the store's transaction).

Closed is compressed; nothing is lost by it, for a log that was closed too early is opened again. What an earlier
process left unfinished is found on disk at the start, so that every log is closed in the end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from surveil.core.model import OPEN, Attempt, AttemptId
from surveil.core.policy import Policy
from surveil.core.state import Changes
from surveil.say import Voice
from surveil.store import Reader, StoreError
from surveil.store.logs import LogStore
from surveil.store.sums import DamagedError

ENDS_MAX: Final = 100_000
LIVE_MAX: Final = 100_000
"""Logs beyond this are closed after the next start."""
SWEEP_S: Final = 30.0
"""How often logs are looked at to which nothing happens any more."""
SWEPT_MAX: Final = 500
"""So many at one time; each asks the database one question."""
QUIET_MS: Final = 10_000
"""A log that took something so lately is not looked at."""

voice = Voice("intake")


class Closing:
    """Closes logs in a thread of its own. What it is told comes from the loop, but for `wrote`; of a runner whose key
    `is_revoked` nothing more is waited for.
    """

    def __init__(
        self,
        logs: LogStore,
        reader: Reader,
        *,
        policy: Policy,
        now: Callable[[], int],
        is_revoked: Callable[[str], bool],
    ) -> None:
        self._logs = logs
        self._reader = reader
        self._policy = policy
        self._now = now
        self._is_revoked = is_revoked
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-closing")
        self._news = asyncio.Event()
        self._stopping = False
        self._durable: OrderedDict[AttemptId, int] = OrderedDict()
        self._ends: dict[AttemptId, int] = {}
        """How long logs will be whose attempts have ended; they are closed when they are whole."""
        self._live: dict[AttemptId, int] = {}
        """Logs that still take more, and when they last did; 0 where an earlier process wrote it."""

    # ---- what it is told --------------------------------------------------------------------------------------------

    def hear(self, changes: Changes) -> None:
        """Learn from what is on disk now how long logs are."""
        for record in (*changes.changed, *changes.new):
            if isinstance(record, Attempt) and (record.log_bytes or record.id in self._live):
                end = record.log_end
                if end is not None:
                    _put(self._ends, record.id, end, ENDS_MAX)
                    self._news.set()
        for late in changes.log_ends:
            # Whether the store believed it is seen when the log is looked at.
            _put(self._live, (late.job, late.number), 0, LIVE_MAX)

    def wrote(self, durable: Mapping[AttemptId, int]) -> None:
        """These logs are durable up to there; said by the thread that writes."""
        now = self._now()
        for key, upto in durable.items():
            self._durable[key] = upto
            self._durable.move_to_end(key)
            if len(self._durable) > ENDS_MAX:
                self._durable.popitem(last=False)
            _put(self._live, key, now, LIVE_MAX)

    def look(self) -> None:
        """Some of them may be whole."""
        if self._ends:
            self._news.set()

    def durable(self, key: AttemptId) -> int:
        """How many bytes of this log are certainly durable; 0 where this process has not written any."""
        return self._durable.get(key, 0)

    # ---- the work ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Close until cancelled."""
        await self._in_thread(self._find)
        loop = asyncio.get_running_loop()
        sweep_at = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(sweep_at):
                    await self._news.wait()
            except TimeoutError:
                await self._in_thread(self._sweep)
                sweep_at = loop.time() + SWEEP_S
            self._news.clear()
            await self._in_thread(self._close_whole)

    async def close(self) -> None:
        """Wait for what has begun."""
        self._stopping = True
        await asyncio.to_thread(self._thread.shutdown)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except StoreError as error:
            voice.warning("logs stay open for now", reason=error)

    def _find(self) -> None:
        """Take up the logs that an earlier process left unfinished."""
        seen = 0
        for build in self._logs.builds_at_work():
            if self._stopping:
                return
            if build == seen:
                continue
            seen = build
            try:
                detail = self._reader.build(build)
            except DamagedError as error:
                voice.warning("logs stay as they are", build=build, reason=error)
                continue
            for attempt in detail.attempts if detail is not None else ():
                if self._logs.at_work(attempt.job, attempt.number) and attempt.id not in self._live:
                    _put(self._live, attempt.id, 0, LIVE_MAX)

    def _close_whole(self) -> None:
        """Close logs of which every byte is here."""
        for key, end in list(self._ends.items()):
            if self._durable.get(key, 0) >= end and self._finish(key, end):
                self._ends.pop(key, None)

    def _sweep(self) -> None:
        """Close logs to which nothing happens any more; those that stay are looked at again, after all others."""
        now = self._now()
        quiet = [key for key, touched_at in list(self._live.items()) if now - touched_at >= QUIET_MS]
        for key in quiet[:SWEPT_MAX]:
            if self._stopping:
                return
            touched_at = self._live.get(key, 0)
            done = self._close_if_over(key, touched_at, now)
            if self._live.get(key) == touched_at:  # Else it took something meanwhile.
                self._live.pop(key)
                if not done:
                    self._live[key] = touched_at

    def _close_if_over(self, key: AttemptId, touched_at: int, now: int) -> bool:
        """Close a log that is whole, or for which nobody is left; whether it needs no more attention."""
        try:
            attempt = self._reader.attempt(*key)
        except DamagedError as error:
            # The others wait behind it.
            voice.warning("a log stays as it is", job=key[0], attempt=key[1], reason=error)
            return True
        if attempt is None:
            return True
        if attempt.state in OPEN:
            return False
        end = attempt.log_end
        if end is not None and self._logs.length(*key) >= end:
            return self._finish(key, end)
        over_at = max(touched_at, attempt.finished_at or attempt.assigned_at)
        if now - over_at <= self._policy.log_wait_ms and not self._is_revoked(attempt.runner):
            return False
        if self._finish(key, None):
            self._ends.pop(key, None)
            voice.warning("a log is closed that is not whole", job=key[0], attempt=key[1], runner=attempt.runner_name)
        return True

    def _finish(self, key: AttemptId, end: int | None) -> bool:
        """Whether it is closed now, or never will be."""
        try:
            closed = self._logs.finish(*key, end)
        except StoreError as error:
            voice.warning("a finished log stays uncompressed", job=key[0], attempt=key[1], reason=error)
            return True
        if closed:
            self._live.pop(key, None)
        return closed


def _put(where: dict[AttemptId, int], key: AttemptId, value: int, most: int) -> None:
    """Remember, and forget the oldest beyond the limit."""
    if key not in where and len(where) >= most:
        where.pop(next(iter(where)), None)
    where[key] = value
