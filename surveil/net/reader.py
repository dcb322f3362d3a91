"""When to read sockets, when to sleep, and when to give the event loop to others.

What belongs here: the traps of ZeroMQ's descriptors, in one place. What does not: reading itself (inlet, monitor).

ZeroMQ's descriptor tells of changes, not of states: it may stay silent while messages wait, after any call on the
socket. Two rules make that harmless. A reader sleeps only after reads that found nothing. Whoever sends on a socket
has it read again, since sending may have used up the sign that something came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

SLEEP_MS: Final = 1_000
"""A sleep is never longer, so that a sign which was missed in spite of all costs a second and not a cluster."""
TURN_MS: Final = 2
"""So long a reader may go on before everything else in the loop has its turn."""

TakenT = TypeVar("TakenT")


class Source(Protocol):
    """Something to read. `dry` says that the last read found nothing more, so that the descriptor tells of the next."""

    descriptor: int
    dry: bool


class Reader(Generic[TakenT]):
    """Calls `take` whenever some source is not dry, until it takes something. One caller at a time.

    `take` reads those `sources` that are not dry, a bounded piece of each, without waiting. A descriptor is watched
    only from the start of a sleep until it fires, so that a busy owner is not called for what it cannot read yet.
    """

    def __init__(self, sources: Callable[[], Iterable[Source]], take: Callable[[], TakenT]) -> None:
        self._sources = sources
        self._take = take
        self._watched: dict[int, Source] = {}
        self._sleeper: asyncio.Future[None] | None = None
        self._woken = False
        self._turn_at = 0.0

    async def read(self, timeout_ms: int) -> TakenT:
        """What was taken, as soon as it is something; nothing after `timeout_ms` or `wake`.

        Cancelling it loses nothing: what is taken is returned without a wait in between.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        while True:
            await self._give_turn(loop)
            taken = self._take()
            left_ms = (until - loop.time()) * 1000
            if taken or self._woken or left_ms <= 0:
                self._woken = False
                return taken
            if all(source.dry for source in self._sources()):
                await self._sleep(loop, min(left_ms, SLEEP_MS))

    def wake(self) -> None:
        """Make the running or next `read` return, with nothing if need be."""
        self._woken = True
        self._ring()

    def look_at(self, source: Source) -> None:
        """Have this source read again, because something was done to it."""
        source.dry = False
        self._ring()

    def forget(self, source: Source) -> None:
        """Watch it no more; called before it is closed, because its descriptor's number will be given to others."""
        if self._watched.pop(source.descriptor, None) is not None:
            asyncio.get_running_loop().remove_reader(source.descriptor)

    async def _give_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop do its other work, and then look at everything: what is not watched could not tell of itself."""
        if loop.time() - self._turn_at > TURN_MS / 1000:
            await asyncio.sleep(0)
            self._turn_at = loop.time()
            for source in self._sources():
                source.dry = False

    async def _sleep(self, loop: asyncio.AbstractEventLoop, sleep_ms: float) -> None:
        for source in self._sources():
            if source.descriptor not in self._watched:
                self._watched[source.descriptor] = source
                loop.add_reader(source.descriptor, self._fired, source)
        self._sleeper = loop.create_future()
        timer = loop.call_later(sleep_ms / 1000, self._oversleep)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None
        self._turn_at = loop.time()

    def _oversleep(self) -> None:
        """Nothing told of itself, which does not mean that nothing came."""
        for source in self._sources():
            source.dry = False
        self._ring()

    def _fired(self, source: Source) -> None:
        self.forget(source)
        self.look_at(source)

    def _ring(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
