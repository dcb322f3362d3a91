"""Answers that are kept for a moment, so that many who ask the same cost as much as one.

What belongs here: asking once for all who wait, and forgetting. What does not: what is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import Any, Final

from surveil.errors import SurveilError
from surveil.frozen import dataclass

KEPT_MAX: Final = 1000
"""So many different answers are kept; the oldest goes for the next."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What there is instead of an answer. As a task's own failure it would be written down as a defect where all who
    waited have left, and nobody is there to be told of it.
    """

    error: SurveilError


class Remembered:
    """Answers of one event loop."""

    def __init__(self) -> None:
        self._coming: dict[Hashable, asyncio.Task[Any]] = {}
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Any]], *, fresh_s: float = 0.0) -> Any:
        """The answer to `ask`, or one of the same key that is on its way or at most `fresh_s` old; its failure is
        everybody's. Raises whatever `ask` does.
        """
        asked_at, answer = self._kept.get(key, (-inf, None))
        if asyncio.get_running_loop().time() - asked_at < fresh_s:
            return answer
        task = self._coming.get(key)
        if task is None:
            task = self._coming[key] = asyncio.create_task(self._ask(key, ask, keep=fresh_s > 0))
        # Whoever goes away takes nothing from the others.
        found = await asyncio.shield(task)
        if isinstance(found, _Failure):
            raise found.error
        return found

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
        except SurveilError as error:
            return _Failure(error)
        finally:
            if self._coming.get(key) is task:
                del self._coming[key]
