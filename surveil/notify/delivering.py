"""Follows the journal for one target, and tells it what follows from that.

What belongs here: one loop for each target, and where it begins to read. What does not: what is told next
(`core.outbox`), what follows from a line (the targets), how both are kept (`store.outbox`).

The journal waits for whoever is away: a target has room for a bounded number of things that wait, and no more is read
for it while that is used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from surveil.core.outbox import LIFE_MS, Fate, Outcome, Parcel, Queue, next_parcel, settled, wake_at
from surveil.frozen import replace
from surveil.notify.targets import Target
from surveil.say import Voice
from surveil.store import ROWS_MAX, Reader, StoreError
from surveil.store.outbox import Following, Outbox

LOOK_MS: Final = 500
"""How often it is looked whether the journal has grown."""
LINES_MAX: Final = 200
"""So many lines are read at a time."""
WAITING_MAX: Final = 1_000
"""While so much waits for a target, nothing more is read for it."""
STORE_AGAIN_MS: Final = 5_000
"""A disk that does not do its part is left alone for so long."""
TOGETHER_MS: Final = 60_000
"""What is started together comes up in any order, and within so long: a whole build may be over by then."""

voice = Voice("notify")


class Delivery:
    """The way of what happened to one target. `now` is the present instant in milliseconds since 1970."""

    def __init__(self, target: Target, *, reader: Reader, outbox: Outbox, now: Callable[[], int]) -> None:
        self._target = target
        self._reader = reader
        self._outbox = outbox
        self._now = now
        self._following: Following | None = None
        self._queue: Queue | None = None
        self._begun_here = False
        self._unsettled: Callable[[], None] | None = None
        """Keeps what came of the last attempt; None once it is on disk."""
        self._ending = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end after what is being told."""
        self._ending.set()

    async def run(self) -> None:
        """Read and tell until `stop`."""
        while not self._ending.is_set():
            try:
                wait_ms = await self.step()
            except StoreError as error:
                voice.error("nothing can be told now", target=self._target.name, reason=error)
                # Somebody may have put another file in place of the outbox.
                self._begun_here, self._queue = False, None
                wait_ms = STORE_AGAIN_MS
            if wait_ms:
                await self._pause(wait_ms)

    async def step(self) -> int:
        """Read on, tell one thing, and return how long there is nothing to do, in milliseconds.

        Raises:
            StoreError: the journal cannot be read, or the outbox cannot be written.
        """
        await self._settle()
        queue, more = await asyncio.to_thread(self._read_on)
        parcel = next_parcel(queue, self._now())
        if parcel is None:
            due_at = wake_at(queue)
            wait_ms = LOOK_MS if due_at is None else min(LOOK_MS, max(1, due_at - self._now()))
            return 0 if more else wait_ms
        outcome = await self._told(parcel)
        now = self._now()
        after, left = settled(queue, parcel, outcome, now)
        self._queue = None  # Until it is on disk nobody knows which of the two is true.
        told = outcome.fate is Fate.DELIVERED
        self._unsettled = partial(self._outbox.settle, self._target.name, parcel, left, after, told=told, now=now)
        self._say(parcel, left, outcome)
        await self._settle()
        self._queue = after
        return 0

    async def _settle(self) -> None:
        """Keep what came of the last attempt. While the disk takes nothing, nothing else is told: with every attempt
        the same would be told once more.
        """
        if self._unsettled is not None:
            await asyncio.to_thread(self._unsettled)
            self._unsettled = None

    async def _told(self, parcel: Parcel) -> Outcome:
        if self._now() - parcel.made_at >= LIFE_MS:
            return Outcome(fate=Fate.HOPELESS, reason="it is too old to be of use to anybody")
        return await self._target.tell(parcel)

    def _say(self, parcel: Parcel, left: Parcel | None, outcome: Outcome) -> None:
        about = {"target": self._target.name, "subject": parcel.subject}
        if outcome.fate is Fate.DELIVERED:
            voice.debug("told", **about, slot=parcel.slot)
        elif left is None:
            voice.error("given up", **about, slot=parcel.slot, reason=outcome.reason)
        elif outcome.reason != parcel.problem:  # Said once, and not each time that it is tried.
            voice.warning("not told yet", **about, reason=outcome.reason)

    def _read_on(self) -> tuple[Queue, bool]:
        """Read the next lines of the journal, if there is room; all that waits then, and whether there may be more."""
        name = self._target.name
        newest = self._reader.journal_end()
        if self._following is None or not self._begun_here:
            self._following = self._begun(newest)
            self._begun_here = True
        following = self._following
        queue = self._queue = self._queue or self._outbox.queue(name)
        if following.position >= newest or len(queue.waiting) >= WAITING_MAX:
            return queue, False
        lines = self._reader.journal(after=following.position, limit=LINES_MAX)
        drafts = self._target.drafts(lines)
        position, at = lines[-1].position, lines[-1].note.at
        self._outbox.read_on(name, drafts, position=position, at=at, now=self._now())
        self._following = replace(following, position=position, at=at)
        if drafts:
            queue = self._queue = self._outbox.queue(name)
        return queue, position < newest

    def _begun(self, newest: int) -> Following:
        """How far this target has come. A new one is told of what happens from now on, or since its dispatcher was
        started just before; and one of whom the outbox knows nothing any more of what was not read for it yet.

        Where the line that was read last is another one now, a copy of an earlier day was put back in the journal's
        place, and it is gone on after the last line that is no younger.
        """
        name = self._target.name
        start = self._new(newest) if self._following is None else min(newest, self._following.position)
        following = self._outbox.begin(name, position=start, at=self._written_at(start))
        if following.position <= newest and self._written_at(following.position) == following.at:
            return following
        low, high = 0, newest
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._written_at(middle + 1) <= following.at else (low, middle)
        voice.warning("the journal is another than before", target=name, position=low)
        at = self._written_at(low)
        self._outbox.read_on(name, (), position=low, at=at, now=self._now())
        return replace(following, position=low, at=at)

    def _new(self, newest: int) -> int:
        """Where whoever is new begins to read."""
        started = (
            line.position for line in self._reader.incidents(limit=ROWS_MAX)
            if line.note.what == "dispatcher" and line.note.state == "started"
            and abs(self._now() - line.note.at) <= TOGETHER_MS
        )  # fmt: skip
        return min(newest, next(started, newest))

    def _written_at(self, position: int) -> int:
        """When a line of the journal was written; 0 where there is none, as before the first."""
        lines = self._reader.journal(after=position - 1, limit=1) if position else []
        return lines[0].note.at if lines else 0

    async def _pause(self, wait_ms: int) -> None:
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._ending.wait()
        except TimeoutError:
            pass
