"""Tasks that somebody owns: none is forgotten, none fails unseen, none outlives its owner.

What belongs here: keeping them. What does not: what they do, and in which order (`lanes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks of one event loop and one owner.

    What the world may do is caught where it happens, so a task that fails is a mistake of ours, and ends the process:
    starting is recovery. `when_failed` is called with the failure; it wakes the owner, who calls `check`.
    """

    def __init__(self, when_failed: Callable[[BaseException], object]) -> None:
        self._when_failed = when_failed
        self._running: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside all else."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.fail(failure)

    def fail(self, failure: BaseException) -> None:
        """Something else of the owner's failed by a mistake of ours."""
        self._failure = self._failure or failure
        self._when_failed(failure)

    def check(self) -> None:
        """Raise what the first task that failed has raised, if any did."""
        if self._failure is not None:
            raise self._failure

    async def wait(self, patience_s: float | None = None) -> None:
        """Wait until all have ended, those that they start included, or the patience has."""
        loop = asyncio.get_running_loop()
        until = None if patience_s is None else loop.time() + patience_s
        while self._running and (until is None or loop.time() < until):
            await asyncio.wait(self._running, timeout=None if until is None else until - loop.time())

    async def end(self) -> None:
        """Cancel all, and wait until they have ended. What fails now is `check`ed by nobody, and does not matter."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)
