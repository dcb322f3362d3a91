"""Ctrl-C, once and twice, for `up`.

What belongs here: turning signals into something that can be waited for. What does not: what is done about them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from surveil.errors import ExitCode, SurveilError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Result = TypeVar("Result")


class Interrupted(SurveilError):
    """Somebody wants this to end before its time."""

    exit_code = ExitCode.INTERRUPTED


class Interrupts:
    """The first and the second of the signals that end this process; more change nothing."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        for number in SIGNALS:
            # `nohup` means what it says.
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._take)

    async def unless_first(self, work: Awaitable[Result]) -> Result:
        """The result of `work`; Interrupted if the first signal comes before it, and the work is cancelled then."""
        task = asyncio.ensure_future(work)
        if not await _before(task, self.first):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise Interrupted("Interrupted.")
        return task.result()

    async def until_second(self, work: asyncio.Task[None]) -> bool:
        """Wait for `work`, or for the second signal; whether the work is done."""
        return await _before(work, self.second)

    def _take(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def _before(work: asyncio.Future[Result], event: asyncio.Event) -> bool:
    """Wait for both; whether the work ended first."""
    waiting = asyncio.ensure_future(event.wait())
    both: set[asyncio.Future[Any]] = {work, waiting}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return work.done()
