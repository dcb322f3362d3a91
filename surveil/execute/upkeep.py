"""What a runner does in its own time: spare work trees for the next attempts, mirrors that stay small, nothing left.

What belongs here: when there is time for it, and that it never stands in an attempt's way. What does not: how a spare
is made (`mirror.spare`) and a mirror tidied (`mirror.mirror`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError, SurveilError
from surveil.execute.workspace import remove
from surveil.mirror import address
from surveil.mirror.command import Halt
from surveil.mirror.inventory import mirrored
from surveil.mirror.mirror import Mirror
from surveil.mirror.spare import Spares
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.places import ATTEMPTS, MIRRORS, WORKSPACES
from surveil.protocol import Assign
from surveil.say import Voice

SPARE_AFTER_S: Final = 0.3
"""A spare is made so long after the last workspace: what waited for that runs by then."""
IDLE_S: Final = 60.0
"""Mirrors are tidied when there was nothing to do for so long."""
TIDY_EVERY_S: Final = 24 * 3600.0
"""So often, and after each start."""
SWEEP_EVERY_S: Final = 60.0
"""So often, and at each start: an engine that was away when an attempt ended still has its container."""

voice = Voice("execute")


class Upkeep:
    """One thing at a time, in a thread of its own, for the runner whose folder is `data`. Lives in the loop.

    `busy` says whether anything below `attempts` or `workspaces` belongs to somebody, and `kept` which names there
    belong to another version of surveil; `sweep` removes the containers that are nobody's, attempts or no attempts.
    """

    def __init__(
        self,
        data: Path,
        spares: Spares,
        *,
        busy: Callable[[], bool],
        kept: Callable[[], set[str]],
        sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._mirrors = data / MIRRORS
        self._left = (data / ATTEMPTS, data / WORKSPACES)
        self._spares = spares
        self._busy = busy
        self._kept = kept
        self._sweep = sweep
        self._sweep_at = 0.0
        self._wanted: dict[str, str] = {}
        """Repositories that want a spare, and at which commit; no more than there are mirrors."""
        self._used_at = 0.0
        self._tidy_at = 0.0
        self._news = asyncio.Event()
        self._halt: Halt | None = None
        """Ends what is being done."""
        self._tidying = False
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "upkeep")

    async def run(self) -> None:
        """Go on with it until `close`."""
        self._used_at = asyncio.get_running_loop().time()
        try:
            await self._do("spare work trees", lambda _: self._spares.begin())
            while not self._closed:
                await self._until_due()
        finally:
            await asyncio.to_thread(self._thread.shutdown)

    def close(self) -> None:
        """End what is being done, and begin nothing more."""
        self._closed = True
        self._news.set()
        if self._halt is not None:
            self._halt.ring()

    def step_aside(self) -> None:
        """An attempt is about to need its mirror, and nobody may lock that for minutes now."""
        self._used_at = asyncio.get_running_loop().time()
        if self._tidying and self._halt is not None:
            self._halt.ring()

    def used(self, assign: Assign) -> None:
        """A workspace of this repository was made; the next one is likely to be of it, too."""
        self._used_at = asyncio.get_running_loop().time()
        self._wanted.pop(assign.repo, None)
        self._wanted[assign.repo] = assign.sha
        self._news.set()

    async def _until_due(self) -> None:
        due = self._used_at + SPARE_AFTER_S if self._wanted else max(self._used_at + IDLE_S, self._tidy_at)
        due = min(due, self._sweep_at)
        self._news.clear()
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            await self._do_what_is_due()

    async def _do_what_is_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._sweep_at:
            await self._do("containers left behind", lambda _: self._sweep())
            self._sweep_at = now + SWEEP_EVERY_S
        elif self._wanted:
            if now >= self._used_at + SPARE_AFTER_S:
                repo, sha = self._wanted.popitem()
                await self._do(repo, lambda halt: self._spares.make(self._mirror(repo, halt), sha))
        elif self._busy():
            self._used_at = now
        elif now >= self._used_at + IDLE_S:
            # Attempts have names of their own, so what is found now is nobody's, whatever comes next.
            kept = self._kept()
            left = [
                path for folder in self._left if folder.is_dir() for path in folder.iterdir() if path.name not in kept
            ]
            self._tidying = True
            if await self._do("what attempts left", lambda _: _remove_all(left)) and await self._do(
                "mirrors", self._tidy
            ):
                self._tidy_at = now + TIDY_EVERY_S
            self._tidying = False

    async def _do(self, what: str, work: Callable[[Halt], None]) -> bool:
        """Do it in the thread; whether it was done or given up, rather than put off."""
        with contextlib.closing(Halt()) as self._halt:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, work, self._halt)
            except (OSError, SurveilError) as problem:
                if self._halt.rung:
                    return False
                voice.warning("upkeep failed; attempts do without it", what=what, reason=str(problem))
        return True

    def _tidy(self, halt: Halt) -> None:
        for repo in mirrored(self._mirrors):
            try:
                self._mirror(repo, halt).tidy()
            except MirrorError as problem:
                if problem.trouble is Trouble.HALTED:
                    raise
                voice.warning("mirror cannot be tidied", repo=repo, reason=str(problem))

    def _mirror(self, repo: str, halt: Halt) -> Mirror:
        return Mirror(self._mirrors, address.parse(repo, "/"), halt)


def _remove_all(paths: list[Path]) -> None:
    """Try again what could not be deleted when its attempt ended."""
    for path in paths:
        try:
            remove(path)
        except InfrastructureError as problem:
            voice.error(str(problem))
