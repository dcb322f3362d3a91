"""Bringing blobs from the dispatcher's disk to the bucket where they are at home.

What belongs here: when, how soon again, and what is said of it. What does not: the way of one (`store.bucketed`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from surveil.say import Voice
from surveil.store import StoreError
from surveil.store.bucketed import BucketBlobs

LOOK_S: Final = 0.5
AGAIN_S: Final = 5.0
"""So long nothing is tried after a failure; it grows up to `AGAIN_MAX_S`."""
AGAIN_MAX_S: Final = 60.0
TIDY_S: Final = 600.0

voice = Voice("depot")


class Moving:
    """Moves what waits, one after the other, for as long as it takes."""

    def __init__(self, blobs: BucketBlobs) -> None:
        self._blobs = blobs
        self._rest_s = 0.0

    async def run(self) -> None:
        """Move until cancelled; what is cut off is begun again by the next process."""
        loop = asyncio.get_running_loop()
        looked, tidy_at = False, loop.time()
        while True:
            looked = looked or await self._did_look()
            if loop.time() >= tidy_at:
                tidy_at = loop.time() + TIDY_S
                await self._tidy()
            if self._blobs.waiting:
                await self._move()
                await asyncio.sleep(self._rest_s)
            else:
                await asyncio.sleep(LOOK_S)

    async def _did_look(self) -> bool:
        try:
            await asyncio.to_thread(self._blobs.look)
        except StoreError as error:
            voice.error("files on this disk cannot be looked through", reason=error)
            return False
        return True

    async def _move(self) -> None:
        try:
            damaged = await self._blobs.move()
        except StoreError as error:
            if not self._rest_s:
                voice.error("files wait on this disk for their bucket", count=self._blobs.waiting, reason=error)
            self._rest_s = min(AGAIN_MAX_S, 2 * self._rest_s or AGAIN_S)
            return
        if damaged:
            voice.warning("a blob was damaged on this disk, and is deleted", blob=damaged)
        elif self._rest_s:
            self._rest_s = 0.0
            voice.info("the bucket takes files again", bucket=str(self._blobs.bucket), waiting=self._blobs.waiting)

    async def _tidy(self) -> None:
        try:
            await asyncio.to_thread(self._blobs.tidy)
        except StoreError as error:
            voice.warning("copies of files stay for now", reason=error)
