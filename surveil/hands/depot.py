"""The way of files from runners to the dispatcher's disk: pieces of blobs, and the notes of what they are.

What belongs here: who may bring what, batching, and the answers. What does not: partial files (`store.incoming`), whole
ones (`store.blobs`), rows (`store.shelf`), and when something goes again (`sweeping`).

Nothing is acknowledged as whole or noted before it is on disk. What is not answered is said again by its runner; so
what comes faster than the disk is dropped here, and costs nobody but whoever sends it.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from surveil.core.kept import RETENTION_MS, Artifact, Cache, named, scopes_of
from surveil.core.model import OPEN, Attempt, AttemptState, Build
from surveil.core.state import State
from surveil.frozen import replace
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import (
    BLOB_BYTES_MAX,
    CHUNK_BYTES_MAX,
    AboutFiles,
    CacheFound,
    Deposit,
    Deposited,
    DoubtBlob,
    Fetch,
    KeepArtifact,
    KeepCache,
    Message,
    Piece,
    SeekCache,
)
from surveil.say import Voice
from surveil.store import FullError, StoreError
from surveil.store.blobs import READ_BYTES_MAX, Blobs
from surveil.store.incoming import BlobRefused, Incoming
from surveil.store.shelf import Shelf

PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""More than this waits with its runners."""
TRANSFERS_MAX: Final = 16
"""Blobs that one runner may be bringing at once; an honest one brings four."""
TOLD_MAX: Final = 10_000
BROUGHT_MAX: Final = 10_000
AGAIN_MS: Final = 2_000
"""How long a runner should wait for what may be better soon."""
FULL_RETRY_MS: Final = 10_000
ROOM_MIB_MIN: Final = 500
ROOM_PERCENT_MIN: Final = 5
"""Of the disk, so much stays free for builds and logs, without which nothing goes on."""
_OWNER_DIGITS: Final = 16

Place: TypeAlias = tuple[Route, int, int]
"""Where an answer goes: a connection, the number of what was said on it, and for a piece that was asked for, which one.
Of several answers to one place the last is enough.
"""
Kept: TypeAlias = Artifact | Cache
voice = Voice("depot")


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to do in the thread: what was said, by whom, and for which build."""

    received: Received
    said: AboutFiles
    build: Build


class Depot:
    """Takes what runners want kept. `state` says which attempts a runner holds, `write` is the thread that writes to
    the database, and `on_refused` hears of a runner that brings what is none of its business.
    """

    def __init__(
        self,
        folder: Path,
        blobs: Blobs,
        shelf: Shelf,
        state: State,
        *,
        write: Executor,
        now: Callable[[], int],
        reply: Callable[[Route, Message], bool],
        on_refused: Callable[[Sender], object],
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._incoming = Incoming(folder / "incoming", blobs)
        self._shelf = shelf
        self._state = state
        self._write = write
        self.now = now
        self._reply = reply
        self._on_refused = on_refused
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blobs")
        self._pending: list[_Job] = []
        self._pending_bytes = 0
        self._news = asyncio.Event()
        self._transfers: dict[str, dict[str, int]] = {}
        """By runner, the blobs that it is bringing and their sizes. Only the thread uses it."""
        self._told: OrderedDict[tuple[str, int, str], int] = OrderedDict()
        """The blobs of caches that an attempt was told of, and their sizes."""
        self._brought: OrderedDict[tuple[str, str], None] = OrderedDict()
        """The blobs that a runner brought last: the answer may be lost, and pieces still be on their way."""

    # ---- in the loop ------------------------------------------------------------------------------------------------

    def take(self, received: list[Received]) -> list[Received]:
        """Take what is about files, and return what is left."""
        left = []
        for item in received:
            if isinstance(item.message, AboutFiles):
                self._take_one(item, item.message)
            else:
                left.append(item)
        return left

    def _take_one(self, item: Received, said: AboutFiles) -> None:
        attempt = self._state.attempts.get((said.job, said.attempt))
        if attempt is None or attempt.runner != item.peer.key or attempt.state not in OPEN:
            self._deny(item, said, attempt)
            return
        size = len(said.data) if isinstance(said, Deposit) else 0
        if self._pending_bytes + size <= PENDING_BYTES_MAX:
            self._pending.append(_Job(item, said, self._state.builds[self._state.jobs[said.job].build]))
            self._pending_bytes += size
            self._news.set()

    def _deny(self, item: Received, said: AboutFiles, attempt: Attempt | None) -> None:
        runner = self._state.runners.get(item.peer.key)
        # It may be taken back: its runner's two connections come in any order, and the other one will say.
        given_up = attempt is not None and attempt.runner == item.peer.key and attempt.state == AttemptState.LOST
        if given_up and (runner is None or not runner.online):
            answer = _answer(said, problem="the attempt was given up", retry_ms=AGAIN_MS)
        else:
            self._on_refused(item.peer)
            answer = _answer(said, problem="the dispatcher takes and gives files only for an attempt that runs now")
        self._reply(item.route, answer)

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            StoreError: the database cannot be written; the process must end.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._pending, self._pending_bytes = self._pending, [], 0
            answers, notes = await loop.run_in_executor(self._thread, self._do, batch)
            for kept in notes.values():
                await loop.run_in_executor(self._write, self._note, kept)
            for (route, _, _), answer in answers.items():
                self._reply(route, answer)

    async def in_thread(self, work: Callable[[], None]) -> None:
        """Do something to the blobs while nobody else does."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Wait for the writing that has begun."""
        await asyncio.to_thread(self._thread.shutdown)
        self._incoming.close()

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _note(self, kept: Kept) -> None:
        """Write a row, in the thread that writes rows."""
        if isinstance(kept, Artifact):
            self._shelf.keep(kept)
            voice.info("artifact kept", job=kept.job, attempt=kept.attempt, name=kept.name)
        else:
            self._shelf.keep_cache(kept)

    def sweep_incoming(self) -> None:
        """Delete what was never finished. Raises StoreError."""
        self._incoming.sweep()

    def _do(self, batch: list[_Job]) -> tuple[dict[Place, Message], dict[Place, Kept]]:
        """Write a batch; the answers are true when this returns and what is to be noted was."""
        answers: dict[Place, Message] = {}
        notes: dict[Place, Kept] = {}
        for job in batch:
            place = (job.received.route, job.said.id, job.said.at if isinstance(job.said, Fetch) else 0)
            try:
                answers[place], note = self._answer(job)
            except BlobRefused as error:
                self._on_refused(job.received.peer)
                answers[place] = _answer(job.said, problem=str(error), retry_ms=AGAIN_MS)
            except FullError:
                raise
            except StoreError as error:
                voice.error("files cannot be taken or given; they wait with their runners", reason=error)
                answers[place] = _answer(job.said, problem=str(error), retry_ms=FULL_RETRY_MS)
            else:
                if note is not None:
                    notes[place] = note
        return answers, notes

    def _answer(self, job: _Job) -> tuple[Message, Kept | None]:
        """The answer, and what is to be noted before it is said."""
        match job.said:
            case Deposit():
                return self._deposit(job, job.said), None
            case KeepArtifact() | KeepCache():
                if self._blobs.size(job.said.blob) != job.said.size:
                    return Deposited(id=job.said.id, problem="what it is made of is not here"), None
                done = Deposited(id=job.said.id, upto=job.said.size, whole=True)
                return done, self._artifact(job.said) if isinstance(job.said, KeepArtifact) else self._cache(
                    job, job.said
                )
            case SeekCache():
                return self._seek(job, job.said)
            case Fetch():
                return self._give(job.said), None
            case DoubtBlob():
                return self._look_at(job.said), None
            case _:
                assert_never(job.said)

    def _deposit(self, job: _Job, said: Deposit) -> Deposited:
        owner = hashlib.sha256(job.received.peer.key.encode()).hexdigest()[:_OWNER_DIGITS]
        bringing = self._transfers.setdefault(owner, {})
        if bringing.get(said.blob) != said.size:
            brought = (owner, said.blob) in self._brought
            # Only what this repository has made before: to know a digest is not to have what it is of.
            if self._blobs.size(said.blob) == said.size and (
                brought or self._shelf.known_to(job.build.repo, said.blob)
            ):
                self._blobs.touch(said.blob)
                return Deposited(id=said.id, upto=said.size, whole=True)
            if problem := self._why_not(said):
                return Deposited(id=said.id, problem=problem, retry_ms=FULL_RETRY_MS)
            while len(bringing) >= TRANSFERS_MAX:
                bringing.pop(next(iter(bringing)))
            bringing[said.blob] = said.size
        try:
            upto = self._incoming.write(owner, said.blob, said.size, said.at, said.data)
        except BlobRefused:
            bringing.pop(said.blob)
            raise
        if upto < said.size:
            return Deposited(id=said.id, upto=upto)
        bringing.pop(said.blob)
        self._brought[owner, said.blob] = None
        if len(self._brought) > BROUGHT_MAX:
            self._brought.popitem(last=False)
        return Deposited(id=said.id, upto=upto, whole=True)

    def _why_not(self, said: Deposit) -> str:
        """Why this blob cannot be taken now, or nothing."""
        if not 0 < said.size <= BLOB_BYTES_MAX:
            return f"an archive has at most {BLOB_BYTES_MAX // 1024**2} MiB"
        disk = shutil.disk_usage(self._folder)
        least = max(ROOM_MIB_MIN * 1024**2, disk.total * ROOM_PERCENT_MIN // 100)
        return "" if disk.free - said.size >= least else "the dispatcher's disk is nearly full"

    def _artifact(self, said: KeepArtifact) -> Artifact:
        now = self.now()
        return Artifact(
            job=said.job, attempt=said.attempt, name=said.name, blob=said.blob, size=said.size, files=said.files,
            kept_at=now, expires_at=now + (said.retention_ms or RETENTION_MS),
        )  # fmt: skip

    # ---- caches, in the thread --------------------------------------------------------------------------------------

    def _cache(self, job: _Job, said: KeepCache) -> Cache:
        now = self.now()
        scope, *_ = scopes_of(job.build.ref, trusted=job.build.trusted)
        return Cache(
            repo=job.build.repo, scope=scope, paths=named(said.paths), key=said.key, blob=said.blob, size=said.size,
            kept_at=now, used_at=now,
        )  # fmt: skip

    def _seek(self, job: _Job, said: SeekCache) -> tuple[CacheFound, Cache | None]:
        """The cache under the key, or else the newest that begins with one of the others, the first of these first."""
        paths = named(said.paths)
        scopes = scopes_of(job.build.ref, trusted=job.build.trusted)
        known = [cache for scope in scopes for cache in self._shelf.caches(job.build.repo, scope, paths)]
        exact = [cache for cache in known if cache.key == said.key]
        near = [cache for key in said.restore_keys for cache in known if cache.key.startswith(key)]
        for cache in (*exact, *near):
            if self._blobs.size(cache.blob) == cache.size:
                self._told[said.job, said.attempt, cache.blob] = cache.size
                while len(self._told) > TOLD_MAX:
                    self._told.popitem(last=False)
                found = CacheFound(id=said.id, key=cache.key, blob=cache.blob, size=cache.size)
                return found, replace(cache, used_at=self.now())
        return CacheFound(id=said.id), None

    def _give(self, said: Fetch) -> Piece:
        size = self._told.get((said.job, said.attempt, said.blob))
        if size is None:
            # Another process told it, or nobody did.
            return Piece(id=said.id, at=said.at, problem="the dispatcher has not told this attempt of that cache")
        if said.at >= size:
            return Piece(id=said.id, at=said.at, problem=f"the blob ends at byte {size}")
        data = self._blobs.read(said.blob, said.at, CHUNK_BYTES_MAX)
        problem = "" if data else "it is not on the dispatcher's disk any more"
        return Piece(id=said.id, at=said.at, data=data, problem=problem)

    def _look_at(self, said: DoubtBlob) -> Deposited:
        """Believe nobody's word: a blob goes only if it is really not what it is called."""
        digest, at = hashlib.sha256(), 0
        while data := self._blobs.read(said.blob, at, READ_BYTES_MAX):
            digest.update(data)
            at += len(data)
        if digest.hexdigest() != said.blob:
            self._blobs.remove(said.blob)
            voice.warning("a blob was damaged on disk, and is deleted", blob=said.blob)
        return Deposited(id=said.id, whole=True)


def _answer(said: AboutFiles, *, problem: str, retry_ms: int = 0) -> Message:
    """The answer to something that was not done."""
    if isinstance(said, SeekCache):
        return CacheFound(id=said.id, problem=problem, retry_ms=retry_ms)
    if isinstance(said, Fetch):
        return Piece(id=said.id, at=said.at, problem=problem, retry_ms=retry_ms)
    return Deposited(id=said.id, problem=problem, retry_ms=retry_ms)
