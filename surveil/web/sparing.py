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
from typing import Any, Final

from surveil.errors import UnreachableError

PAUSE: Final = 3
"""So many times as long as a question took: all of them together have a quarter of the dispatcher's time at most."""
PAUSE_S_MAX: Final = 1.0
TURN_S: Final = 1.0
"""Nobody waits longer for a turn."""


class Sparing:
    """One question at a time, of one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to a question.

        Raises:
            UnreachableError: there was no turn for it.
            SurveilError: as the question does.
        """
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise UnreachableError("So much is asked of the dispatcher already; ask again in a while.") from error
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await question()
        finally:
            loop.call_later(min(PAUSE_S_MAX, PAUSE * (loop.time() - began)), self._turn.release)
