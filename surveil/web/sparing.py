"""Questions to the dispatcher that an answer can do without: why jobs wait, which it alone knows.

What belongs here: how much of the dispatcher's time they may take. What does not: what is asked (`books`).

A list of builds that wait is read there from the same store as here, and takes some milliseconds of the process that
hands out jobs. Whoever only looks must not slow it, however often they ask and for how many different lists: one
question is there at a time, and after each there is a pause that is longer the longer it took. Who does not get a turn
soon has their answer without the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

from surveil.errors import UnreachableError

PAUSE: Final = 3
"""So many times as long as a question took: all of them together have a quarter of the dispatcher's time at most."""
PAUSE_S_MAX: Final = 1.0
"""A question that takes so long waits for other work of the dispatcher's, most of the time."""
TURN_S: Final = 1.0
"""Nobody waits longer for a turn."""


class Sparing:
    """One question at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._free_at = -inf

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to a question.

        Raises:
            UnreachableError: there was no turn for it.
            SurveilError: as the question does.
        """
        try:
            async with asyncio.timeout(TURN_S):
                await self._take()
        except TimeoutError as error:
            raise UnreachableError("So much is asked of the dispatcher already; ask again in a while.") from error
        now = asyncio.get_running_loop().time
        began = now()
        try:
            return await question()
        finally:
            self._free_at = now() + min(PAUSE_S_MAX, PAUSE * (now() - began))
            self._turn.release()

    async def _take(self) -> None:
        """Have the turn, once the pause after the question before is over."""
        await self._turn.acquire()
        try:
            await asyncio.sleep(max(0.0, self._free_at - asyncio.get_running_loop().time()))
        except BaseException:  # Whatever ends the pause before its time.
            self._turn.release()
            raise
