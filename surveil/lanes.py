"""Work in lanes: what is in one lane happens in the order in which it was begun, and lanes do not wait for each other.

What belongs here: the order. What does not: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any


class Lanes:
    """Lanes of one event loop, by any key; a lane is forgotten when it is empty."""

    def __init__(self) -> None:
        self._last: dict[Hashable, asyncio.Task[Any]] = {}

    async def follow(self, lane: Hashable, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` after everything that tasks before this one have begun in this lane.

        To be run as a task of its own.
        """
        task = asyncio.current_task()
        assert task is not None, "lanes are for tasks"
        before = self._last.get(lane)
        self._last[lane] = task
        try:
            if before is not None:
                await asyncio.wait({before})
            await work()
        finally:
            if self._last.get(lane) is task:
                del self._last[lane]
