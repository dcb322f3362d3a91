"""Room for what anybody may begin, before it is known who they are: webhooks, and returns from providers.

What belongs here: how many are in work at once, of one address and of all, and who is next. What does not: what is done
with one (`hooks.receiving`, `providers`).

Whoever finds no place waits for one a while. The next place is for the address that has fewest: one that comes without
end waits for its own, and not others for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

WAITING_MAX: Final = 256
"""So many wait for a place. Whoever comes from an address of which fewer wait does so in place of one of the address of
which most do; all others are told to come again.
"""


class Room:
    """`most` places, half of them for one address, each of which is waited for at most `wait_s`; of one event loop."""

    def __init__(self, *, most: int, wait_s: float) -> None:
        self._most = most
        self._each = most // 2
        self.wait_s = wait_s
        self.busy: Counter[str] = Counter()
        """How many places each address has."""
        self._waiting: dict[asyncio.Future[bool], str] = {}
        """Who waits, in the order in which they came; for none of them there is a place. What they wait for is whether
        they have one.
        """

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[bool]:
        """A place for somebody from this address until the end of the block; False where there is none in time."""
        if self.busy.total() < self._most and self.busy[address] < self._each:
            self.busy[address] += 1
        elif not await self._is_given(address):
            yield False
            return
        try:
            yield True
        finally:
            self._leave(address)

    async def _is_given(self, address: str) -> bool:
        if self.waiting >= WAITING_MAX and not self._is_one_less(address):
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = address
        try:
            async with asyncio.timeout(self.wait_s):
                return await turn
        except BaseException as error:  # Whatever ends the wait: the place may have been given at that very moment.
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.result():
                self._leave(address)
            if isinstance(error, TimeoutError):
                return False
            raise

    def _is_one_less(self, address: str) -> bool:
        """Have the latest of the address of which most wait make room for one from this one; False where as many of
        this one wait.
        """
        counts = Counter(self._waiting.values())
        [(whose, most)] = counts.most_common(1)
        if counts[address] + 1 >= most:
            return False
        last = next(each for each in reversed(self._waiting) if self._waiting[each] == whose)
        del self._waiting[last]
        if not last.done():
            last.set_result(False)
        return True

    def _leave(self, address: str) -> None:
        """Give the place to the next."""
        self.busy[address] -= 1
        if not self.busy[address]:
            del self.busy[address]  # Whoever has none is not kept.
        fitting = [each for each, whose in self._waiting.items() if self.busy[whose] < self._each and not each.done()]
        if fitting:
            turn = min(fitting, key=lambda each: self.busy[self._waiting[each]])
            self.busy[self._waiting.pop(turn)] += 1
            turn.set_result(True)
