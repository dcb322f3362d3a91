"""Room for deliveries: how many are in work at once, of one address and of all, and who is next.

What belongs here: counting them, and waiting for a place. What does not: what is done with one (`receiving`).

A forge may say a hundred things in the same second, and many send nothing a second time. So whoever finds no place
waits for one a while, before anything of the body is read. The next place is for the address that has fewest: one that
sends without end waits for its own, and not others for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

BUSY_MAX: Final = 32
"""Deliveries in work at once."""
EACH_MAX: Final = BUSY_MAX // 2
"""Of one address: whoever sends slowly what proves nothing leaves the other half to those who do not."""
WAITING_MAX: Final = 256
"""So many wait for a place, of one address half of them; all others are told to come again."""
WAIT_S: Final = 3.0
"""Forges give up after five seconds, or ten."""


class Room:
    """The places of one event loop."""

    def __init__(self) -> None:
        self.busy: Counter[str] = Counter()
        """How many deliveries are in work, of each address."""
        self._waiting: dict[asyncio.Future[None], str] = {}
        """Who waits, in the order in which they came; for none of them there is a place."""

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[bool]:
        """A place for a delivery from this address until the end of the block; False where there is none in time."""
        if self.busy.total() < BUSY_MAX and self.busy[address] < EACH_MAX:
            self.busy[address] += 1
        elif not await self._is_given(address):
            yield False
            return
        try:
            yield True
        finally:
            self._leave(address)

    async def _is_given(self, address: str) -> bool:
        if self.waiting >= WAITING_MAX or Counter(self._waiting.values())[address] >= WAITING_MAX // 2:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = address
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except BaseException as error:  # Whatever ends the wait: the place may have been given at that very moment.
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled():
                self._leave(address)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def _leave(self, address: str) -> None:
        """Give the place to the next."""
        self.busy[address] -= 1
        if not self.busy[address]:
            del self.busy[address]  # Whoever has none is not kept.
        fitting = [each for each, whose in self._waiting.items() if self.busy[whose] < EACH_MAX and not each.done()]
        if fitting:
            turn = min(fitting, key=lambda each: self.busy[self._waiting[each]])
            self.busy[self._waiting.pop(turn)] += 1
            turn.set_result(None)
