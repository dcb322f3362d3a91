"""Where questions wait for news: a bounded number of them, each for a bounded time, woken by what the dispatcher's
hands say.

What belongs here: waiting and waking. What does not: what is news to whom (`answers`). One event loop's thread uses
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Self

from surveil.errors import InfrastructureError


class Parking:
    """Waiters by what they wait for."""

    def __init__(self, *, waiters_max: int) -> None:
        self._waiting: dict[Hashable, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._waiters_max = waiters_max
        self._closed = False

    def __len__(self) -> int:
        return self._count

    def enter(self, topic: Hashable) -> Bay:
        """Take a place before looking for news, so that none can come between looking and waiting.

        Raises:
            InfrastructureError: so many wait already that one more would not be bounded.
        """
        if self._count >= self._waiters_max:
            raise InfrastructureError(
                f"{self._count} readers wait for news of this dispatcher already; try again in a while."
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(future)
        self._count += 1
        return Bay(self, topic, future)

    def wake(self, topic: Hashable) -> None:
        """Let all who wait for `topic` look again."""
        for future in self._waiting.get(topic, ()):
            if not future.done():
                future.set_result(None)

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more."""
        return self._closed

    def close(self) -> None:
        """Let everybody look a last time, and nobody wait from now on."""
        self._closed = True
        for topic in list(self._waiting):
            self.wake(topic)

    def leave(self, topic: Hashable, future: asyncio.Future[None]) -> None:
        """Give up a place; `Bay` does this."""
        waiting = self._waiting[topic]
        waiting.discard(future)
        self._count -= 1
        if not waiting:
            del self._waiting[topic]


class Bay:
    """One waiter's place, left at the end of its `with`."""

    def __init__(self, parking: Parking, topic: Hashable, future: asyncio.Future[None]) -> None:
        self._parking = parking
        self._topic = topic
        self._future = future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parking.leave(self._topic, self._future)

    async def wait(self, wait_ms: int) -> bool:
        """Wait at most so long; true if there was news since the place was taken."""
        if self._parking.closed:
            return False
        done, _ = await asyncio.wait({self._future}, timeout=wait_ms / 1000)
        return bool(done)
