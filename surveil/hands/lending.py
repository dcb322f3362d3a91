"""The way of files from the dispatcher's disk to runners: which cache there is, and the bytes of caches and artifacts.

What belongs here: what an attempt finds, what it may then fetch, and the answers. What does not: who asks (`depot`
looks), what is brought here (the same), and who may find what (`core.kept`).

It has a thread of its own: a server that keeps blobs may take long to give one, and whoever brings files does not wait
for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, TypeAlias

from surveil.core.kept import Cache, named, scopes_of
from surveil.core.model import Build
from surveil.frozen import dataclass, replace
from surveil.hands.taking import Taking
from surveil.net.traffic import Received, Route
from surveil.protocol import CHUNK_BYTES_MAX, CacheFound, Fetch, Message, Piece, SeekCache, TakenArtifact
from surveil.say import Voice
from surveil.store import FullError, StoreError
from surveil.store.blobs import Blobs
from surveil.store.shelf import Shelf

TOLD_MAX: Final = 10_000
PENDING_MAX: Final = 10_000
"""Questions that wait; runners ask again what is not answered."""
BATCH_MAX: Final = 16
"""So many are answered together, as many as one transfer asks at once."""
LOOKS_MAX: Final = 20
"""So many of the caches that would do are looked for; where a bucket lost all, each look takes its server's time."""
FULL_S: Final = 0.02
TRIES: Final = 100
"""So often an answer is said at the most, in two seconds; its runner asks again after five."""

Asker: TypeAlias = tuple[Route, int, int]
"""Where an answer goes: a connection, the number of what was said on it, and for a piece that was asked for, which one.
Of several answers to one place the last is enough.
"""
voice = Voice("depot")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, by whom, for which build, and which artifacts may be asked for."""

    received: Received
    said: SeekCache | Fetch
    build: Build
    takes: tuple[TakenArtifact, ...] = ()


class Lending:
    """Gives what was kept for others. `write` is the thread that writes to the database."""

    def __init__(
        self,
        blobs: Blobs,
        shelf: Shelf,
        *,
        write: Executor,
        now: Callable[[], int],
        reply: Callable[[Route, Message], bool],
    ) -> None:
        self._blobs = blobs
        self._shelf = shelf
        self._taking = Taking(shelf, blobs)
        self._write = write
        self._now = now
        self._reply = reply
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lending")
        self._pending: dict[Asker, Question] = {}
        self._news = asyncio.Event()
        self._told: OrderedDict[tuple[str, int, str], int] = OrderedDict()
        """The blobs of caches that an attempt was told of and of artifacts that it takes, and their sizes."""

    # ---- in the loop ------------------------------------------------------------------------------------------------

    def knows(self, said: Fetch) -> bool:
        """Whether this attempt may have the blob, as far as was looked up already."""
        return (said.job, said.attempt, said.blob) in self._told

    def take(self, question: Question) -> None:
        """Take a question of somebody who may ask it; one that is asked again waits once."""
        said = question.said
        place = (question.received.route, said.id, said.at if isinstance(said, Fetch) else 0)
        if place in self._pending or len(self._pending) < PENDING_MAX:
            self._pending[place] = question
            self._news.set()

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            StoreError: the database cannot be written; the process must end.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._pending:
                batch = [self._pending.pop(place) for place in list(self._pending)[:BATCH_MAX]]
                answers = await loop.run_in_executor(self._thread, self._answers, batch)
                for question, (answer, note) in zip(batch, answers, strict=True):
                    if note is not None:
                        await loop.run_in_executor(self._write, self._shelf.keep_cache, note)
                    self._say(question.received.route, answer, TRIES)

    def _say(self, route: Route, answer: Message, tries: int) -> None:
        """Say it, and again where its connection takes no more just now: to be asked for it again takes far longer."""
        if not self._reply(route, answer) and tries > 1:
            asyncio.get_running_loop().call_later(FULL_S, self._say, route, answer, tries - 1)

    async def close(self) -> None:
        """Wait for the reading that has begun."""
        await asyncio.to_thread(self._thread.shutdown)

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _answers(self, batch: list[Question]) -> list[tuple[Message, Cache | None]]:
        return [self._answer(question) for question in batch]

    def _answer(self, question: Question) -> tuple[Message, Cache | None]:
        """The answer, and what is to be noted before it is said. Raises FullError."""
        said = question.said
        try:
            return (
                self._seek(said, question.build) if isinstance(said, SeekCache) else (self._give(question, said), None)
            )
        except FullError:
            raise
        except StoreError as error:
            # A cache is a convenience, and a job that takes artifacts is tried again: nobody waits until the disk or
            # the server is well again.
            voice.error("files cannot be given", reason=error)
            return refused(said, str(error)), None

    def _seek(self, said: SeekCache, build: Build) -> tuple[CacheFound, Cache | None]:
        """The cache under the key, or else the newest that begins with one of the others, the first of these first."""
        paths = named(said.paths)
        scopes = scopes_of(build.ref, trusted=build.trusted)
        known = [cache for scope in scopes for cache in self._shelf.caches(build.repo, scope, paths)]
        exact = [cache for cache in known if cache.key == said.key]
        near = [cache for key in said.restore_keys for cache in known if cache.key.startswith(key)]
        for cache in (*exact, *near)[:LOOKS_MAX]:
            if self._blobs.size(cache.blob) == cache.size:
                self._tell(said, cache.blob, cache.size)
                found = CacheFound(id=said.id, key=cache.key, blob=cache.blob, size=cache.size)
                return found, replace(cache, used_at=self._now())
        return CacheFound(id=said.id), None

    def _tell(self, said: SeekCache | Fetch, blob: str, size: int) -> None:
        self._told[said.job, said.attempt, blob] = size
        while len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)

    def _give(self, question: Question, said: Fetch) -> Piece:
        key = (said.job, said.attempt, said.blob)
        if key not in self._told and question.takes:
            for blob, size in self._taking.sizes(question.takes, question.build.id).items():
                self._tell(said, blob, size)
        if key not in self._told:
            # Another process told it, or nobody did.
            return Piece(id=said.id, at=said.at, problem="the dispatcher has not told this attempt of those files")
        size = self._told[key]
        if said.at >= size:
            return Piece(id=said.id, at=said.at, problem=f"the blob ends at byte {size}")
        data = self._blobs.read(said.blob, said.at, CHUNK_BYTES_MAX)
        problem = "" if data else "the dispatcher does not have it any more"
        return Piece(id=said.id, at=said.at, data=data, problem=problem)


def refused(said: SeekCache | Fetch, problem: str, retry_ms: int = 0) -> Message:
    """The answer to something that was not given."""
    if isinstance(said, SeekCache):
        return CacheFound(id=said.id, problem=problem, retry_ms=retry_ms)
    return Piece(id=said.id, at=said.at, problem=problem, retry_ms=retry_ms)
