"""Answers that are kept for a moment, so that many who ask the same cost as much as one.

What belongs here: asking once for all who wait, and forgetting. What does not: what is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import Any, Final

KEPT_MAX: Final = 1000
"""So many different answers are kept; the oldest goes for the next."""


class Remembered:
    """Answers of one event loop."""

    def __init__(self) -> None:
        self._coming: dict[Hashable, asyncio.Task[Any]] = {}
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Any]], *, fresh_s: float = 0.0) -> Any:
        """The answer to `ask`, or one of the same key that is on its way or at most `fresh_s` old; its failure is
        everybody's.
        """
        asked_at, answer = self._kept.get(key, (-inf, None))
        if asyncio.get_running_loop().time() - asked_at < fresh_s:
            return answer
        task = self._coming.get(key)
        if task is None:
            task = self._coming[key] = asyncio.create_task(self._ask(key, ask, keep=fresh_s > 0))
        # Whoever goes away takes nothing from the others.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Something was changed: what is asked from now on is asked anew."""
        self._coming.clear()
        self._kept.clear()

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[Any]], *, keep: bool) -> Any:
        task, asked_at = asyncio.current_task(), asyncio.get_running_loop().time()
        try:
            answer = await ask()
            if keep and self._coming.get(key) is task:
                self._kept[key] = (asked_at, answer)
                self._kept.move_to_end(key)
                if len(self._kept) > KEPT_MAX:
                    self._kept.popitem(last=False)
            return answer
        finally:
            if self._coming.get(key) is task:
                del self._coming[key]
