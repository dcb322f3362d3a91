"""Letting go of what was kept for long enough: artifacts by age and size, caches by use, blobs that nothing is made of.

What belongs here: when, and in which thread. What does not: which artifacts (`core.kept`), rows and bytes (`store`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final

from surveil.core.kept import outdated, unused
from surveil.hands.depot import Depot
from surveil.say import Voice
from surveil.store import StoreError
from surveil.store.blobs import Blobs
from surveil.store.shelf import Shelf

FIRST_S: Final = 30.0
"""After a start there is more urgent work."""
EVERY_S: Final = 600.0
GRACE_S: Final = 86_400
"""So long a blob is left that nothing is made of yet: its runner may be about to say what it is."""

voice = Voice("depot")


class Sweeping:
    """Sweeps now and then; of artifacts `bytes_max` bytes are kept at the most, 0 for as many as come, and of caches
    `cache_bytes_max`.
    """

    def __init__(
        self,
        depot: Depot,
        shelf: Shelf,
        blobs: Blobs,
        *,
        bytes_max: int,
        cache_bytes_max: int,
        write: Executor,
        now: Callable[[], int],
    ) -> None:
        self._depot = depot
        self._shelf = shelf
        self._blobs = blobs
        self._bytes_max = bytes_max
        self._cache_bytes_max = cache_bytes_max
        self._write = write
        self._now = now

    async def run(self) -> None:
        """Sweep until cancelled. Raises StoreError where the database cannot be written."""
        await asyncio.sleep(FIRST_S)
        while True:
            await self.sweep()
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> None:
        """Sweep once."""
        loop = asyncio.get_running_loop()
        try:
            kept = await asyncio.to_thread(self._shelf.artifacts)
            caches = await asyncio.to_thread(self._shelf.caches)
        except StoreError as error:
            # What is damaged is told to whoever asks for it, and ends nothing that runs.
            voice.warning("what is kept stays for now", reason=error)
            return
        over = outdated(kept, self._now(), self._bytes_max or sum(artifact.size for artifact in kept))
        if over:
            await loop.run_in_executor(self._write, self._shelf.drop, [artifact.id for artifact in over])
            voice.info("artifacts dropped", count=len(over), bytes=sum(artifact.size for artifact in over))
        gone = unused(caches, self._cache_bytes_max or sum(cache.size for cache in caches))
        if gone:
            await loop.run_in_executor(self._write, self._shelf.drop_caches, [cache.id for cache in gone])
            voice.info("caches dropped", count=len(gone), bytes=sum(cache.size for cache in gone))
        await self._drop_unused()

    async def _drop_unused(self) -> None:
        """Remove blobs that nothing is made of. Where they are may be far away, so that is looked up beside all else;
        but whoever brings blobs stands still while one goes, so nothing is made of it meanwhile.
        """
        try:
            unused = await asyncio.to_thread(self._find_unused)
            for digest in unused:
                await self._depot.in_thread(partial(self._drop, digest))
            if unused:
                voice.info("files dropped that nothing was made of any more", count=len(unused))
            await self._depot.in_thread(self._depot.sweep_incoming)
        except StoreError as error:
            voice.warning("what is not used stays for now", reason=error)

    def _find_unused(self) -> list[str]:
        used, now = self._shelf.blobs(), time.time()
        return [digest for digest, since in self._blobs.all() if digest not in used and now - since >= GRACE_S]

    def _drop(self, digest: str) -> None:
        if time.time() - self._blobs.since(digest) >= GRACE_S and not self._shelf.is_used(digest):
            self._blobs.remove(digest)
