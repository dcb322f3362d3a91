"""What an observer is to remember, on its way to the disk: soon, many at once, and again until the disk takes it.

What belongs here: when a record is written. What does not: the files (`records`), and what is worth remembering
(`core.observe`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from surveil.core.observe_model import Record
from surveil.errors import InfrastructureError
from surveil.hands.records import Records
from surveil.say import Voice

WRITE_MS: Final = 200
"""What is to be remembered waits so long for company: a crash meanwhile costs a report too many."""
WRITE_AGAIN_MS: Final = 5_000

voice = Voice("observer")


class Memory:
    """Writes records down in a thread of its own. `find` gives the record of a repository as it is now; `start` starts
    a task of the owner.
    """

    def __init__(
        self,
        records: Records,
        *,
        find: Callable[[str], Record | None],
        now: Callable[[], int],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._records = records
        self._find = find
        self._now = now
        self._start = start
        self._thread = ThreadPoolExecutor(1, "records")
        self._dirty: dict[str, None] = {}
        self._write_at = 0
        self._writing = False
        self._failed = False

    def remember(self, repo: str) -> None:
        """Write down soon what is known of this repository."""
        if not self._dirty:
            self._write_at = max(self._write_at, self._now() + WRITE_MS)
        self._dirty[repo] = None

    @property
    def due_at(self) -> int | None:
        """When there is something to write, if so."""
        return self._write_at if self._dirty and not self._writing else None

    def write_due(self, now: int) -> None:
        """Begin to write what is due."""
        if self.due_at is not None and now >= self.due_at:
            self._start(self._write())

    async def close(self) -> None:
        """Write what is left. Nothing that was begun may be under way any more."""
        await self._write()
        await asyncio.to_thread(self._thread.shutdown)

    async def _write(self) -> None:
        """Write down what is to be remembered; what cannot be written now is tried again."""
        self._writing = True
        dirty, self._dirty = self._dirty, {}
        for repo in dirty:
            known = self._find(repo)
            assert known is not None, f"{repo} is to be remembered before its first sight"
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._records.write, known)
            except InfrastructureError as problem:
                if not self._failed:
                    voice.error(f"{problem}; what was acknowledged meanwhile may be reported twice, and is built once")
                self._failed = True
                self._dirty[repo] = None
                self._write_at = self._now() + WRITE_AGAIN_MS
        if self._failed and not self._dirty:
            voice.info("what was acknowledged is written down again")
            self._failed = False
        self._writing = False
