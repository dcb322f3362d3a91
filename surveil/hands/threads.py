"""The threads in which an observer's git blocks, so that whoever hangs keeps only its own kind waiting.

What belongs here: how many threads there are for whom. What does not: what is done in them (`mirror`), and which
remotes are doubtful (the observer knows).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from surveil.mirror.address import Address

LOCAL_THREADS: Final = 4
LOCAL_DOUBTFUL_THREADS: Final = 2
"""For repositories of this machine that failed the last time: a pipe in the place of a file holds git for a minute."""
REMOTE_THREADS: Final = 32
"""So many looks at remotes may begin to hang at once before others wait for them, a minute at most."""
SERVER_THREADS: Final = 8
"""So many of them may be at one server: one that hangs keeps only its own repositories waiting. And ssh's servers turn
away whoever comes with more than ten at once."""
DOUBTFUL_THREADS: Final = 8
"""For remotes that failed the last time: however many of them hang again, only they wait for each other."""

Result = TypeVar("Result")


class Threads:
    """Threads for what blocks on these repositories."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._local = ThreadPoolExecutor(LOCAL_THREADS, "local")
        self._local_doubtful = ThreadPoolExecutor(LOCAL_DOUBTFUL_THREADS, "local-doubtful")
        self._remote = ThreadPoolExecutor(REMOTE_THREADS, "remote")
        self._doubtful = ThreadPoolExecutor(DOUBTFUL_THREADS, "doubtful")
        # Packing takes minutes, and no look at a repository should wait for it.
        self._tidying = ThreadPoolExecutor(1, "tidying")
        self._servers = {address.server: asyncio.Semaphore(SERVER_THREADS) for address in addresses}

    async def at(self, address: Address, call: Callable[[], Result], *, doubtful: bool) -> Result:
        """Have this done, which asks the repository or its server; `doubtful` is one that failed the last time."""
        loop = asyncio.get_running_loop()
        if address.is_local:
            return await loop.run_in_executor(self._local_doubtful if doubtful else self._local, call)
        async with self._servers[address.server]:
            return await loop.run_in_executor(self._doubtful if doubtful else self._remote, call)

    async def tidy(self, call: Callable[[], None]) -> None:
        """Have this done, which takes long and which nobody waits for."""
        await asyncio.get_running_loop().run_in_executor(self._tidying, call)

    async def close(self) -> None:
        """Return once nothing is done any more."""
        for pool in (self._local, self._local_doubtful, self._remote, self._doubtful, self._tidying):
            await asyncio.to_thread(pool.shutdown)
