"""The way of files from runners to the dispatcher's disk: pieces of blobs, and the notes of what they are.

What belongs here: who may bring or ask for what, batching, and the answers. What does not: what is given (`lending`),
partial files (`store.incoming`), whole ones (`store.blobs`), rows (`store.shelf`), and when something goes again
(`sweeping`).

Nothing is acknowledged as whole or noted before it is on disk. What is not answered is said again by its runner; so
what comes faster than the disk is dropped here, and costs nobody but whoever sends it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from surveil.core.builds import taken
from surveil.core.kept import RETENTION_MS, Artifact, Cache, named, scopes_of
from surveil.core.model import OPEN, Attempt, AttemptState, Build
from surveil.core.state import State
from surveil.frozen import dataclass
from surveil.hands.lending import Lending, Question, refused
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import (
    BLOB_BYTES_MAX,
    AboutFiles,
    Deposit,
    Deposited,
    DoubtBlob,
    Fetch,
    JobSpec,
    KeepArtifact,
    KeepCache,
    Message,
    SeekCache,
)
from surveil.say import Voice
from surveil.store import FullError, StoreError
from surveil.store.blobs import NO_ROOM, Blobs, has_room
from surveil.store.incoming import BlobRefused, Incoming
from surveil.store.shelf import Shelf

PENDING_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than this waits with its runners."""
MESSAGE_BYTES: Final = 4096
"""What a message takes beside its data; one without data is not nothing."""
TRANSFERS_MAX: Final = 16
"""Blobs that one runner may be bringing at once; an honest one brings four."""
BROUGHT_MAX: Final = 10_000
AGAIN_MS: Final = 2_000
"""How long a runner should wait for what may be better soon."""
FULL_RETRY_MS: Final = 10_000
DOUBTED_MS: Final = 3_600_000
"""So long a blob is not read once more, however often somebody doubts it."""
DOUBTED_MAX: Final = 10_000
_OWNER_DIGITS: Final = 16

Asker: TypeAlias = tuple[Route, int]
"""Where an answer goes: a connection, and the number of what was said on it. Of several answers to one place the last
is enough.
"""
Brought: TypeAlias = Deposit | KeepArtifact | KeepCache | DoubtBlob
Noted: TypeAlias = Artifact | Cache
voice = Voice("depot")


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to do in the thread: what was said, by whom, and for which build."""

    received: Received
    said: Brought
    build: Build
    spec: JobSpec


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
        self.lending = Lending(blobs, shelf, write=write, now=now, reply=reply)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blobs")
        self._pending: list[_Job] = []
        self._pending_bytes = 0
        self._news = asyncio.Event()
        self._transfers: dict[str, dict[str, int]] = {}
        """By runner, the blobs that it is bringing and their sizes. Only the thread uses it."""
        self._brought: OrderedDict[tuple[str, str], None] = OrderedDict()
        """The blobs that a runner brought last: the answer may be lost, and pieces still be on their way."""
        self._doubted: OrderedDict[str, int] = OrderedDict()
        """When blobs were read because somebody doubted them. Only the thread uses it."""

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
        job = self._state.jobs[said.job]
        build = self._state.builds[job.build]
        if isinstance(said, SeekCache | Fetch):
            asks = isinstance(said, Fetch) and job.spec.artifacts_from and not self.lending.knows(said)
            takes = taken(self._state, job) if asks else ()
            self.lending.take(Question(item, said, build, takes))
            return
        size = MESSAGE_BYTES + (len(said.data) if isinstance(said, Deposit) else 0)
        if self._pending_bytes + size <= PENDING_BYTES_MAX:
            self._pending.append(_Job(item, said, build, job.spec))
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
            for place, kept in notes.items():
                if isinstance(kept, Artifact) and not self._is_open(kept):
                    over = "the attempt is over, and what it kept changes no more"
                    answers[place] = Deposited(id=place[1], problem=over, retry_ms=AGAIN_MS)
                    continue
                await loop.run_in_executor(self._write, self._note, kept)
            for (route, _), answer in answers.items():
                self._reply(route, answer)

    def _is_open(self, kept: Artifact) -> bool:
        """Whether its attempt may still keep something. What others take of it is said only behind its verdict, which
        is written by the same thread, and after all that was noted before.
        """
        attempt = self._state.attempts.get((kept.job, kept.attempt))
        return attempt is not None and attempt.state in OPEN

    async def in_thread(self, work: Callable[[], None]) -> None:
        """Do something to the blobs while nobody else does."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Wait for the writing that has begun."""
        await asyncio.to_thread(self._thread.shutdown)
        await self.lending.close()
        self._incoming.close()

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _note(self, kept: Noted) -> None:
        """Write a row, in the thread that writes rows."""
        if isinstance(kept, Artifact):
            self._shelf.keep(kept)
            voice.info("artifact kept", job=kept.job, attempt=kept.attempt, name=kept.name)
        else:
            self._shelf.keep_cache(kept)

    def sweep_incoming(self) -> None:
        """Delete what was never finished. Raises StoreError."""
        self._incoming.sweep()

    def _do(self, batch: list[_Job]) -> tuple[dict[Asker, Message], dict[Asker, Noted]]:
        """Write a batch; the answers are true when this returns and what is to be noted was."""
        answers: dict[Asker, Message] = {}
        notes: dict[Asker, Noted] = {}
        for job in batch:
            place = (job.received.route, job.said.id)
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

    def _answer(self, job: _Job) -> tuple[Message, Noted | None]:
        """The answer, and what is to be noted before it is said."""
        match job.said:
            case Deposit():
                return self._deposit(job, job.said), None
            case KeepArtifact() | KeepCache():
                if not _asked_for(job.spec, job.said):
                    self._on_refused(job.received.peer)
                    return Deposited(id=job.said.id, problem="the job does not ask for that to be kept"), None
                if self._blobs.size(job.said.blob) != job.said.size:
                    return Deposited(id=job.said.id, problem="what it is made of is not here"), None
                done = Deposited(id=job.said.id, upto=job.said.size, whole=True)
                return done, self._kept(job, job.said)
            case DoubtBlob():
                return self._look_at(job.said), None
            case _:
                assert_never(job.said)

    def _deposit(self, job: _Job, said: Deposit) -> Deposited:
        owner = hashlib.sha256(job.received.peer.key.encode()).hexdigest()[:_OWNER_DIGITS]
        bringing = self._transfers.setdefault(owner, {})
        if bringing.get(said.blob) != said.size:
            if self._is_here(owner, said, job.build.repo):
                self._blobs.touch(said.blob)
                return Deposited(id=said.id, upto=said.size, whole=True)
            if problem := self._why_not(said):
                return Deposited(id=said.id, problem=problem, retry_ms=FULL_RETRY_MS)
            while len(bringing) >= TRANSFERS_MAX:
                bringing.pop(next(iter(bringing)))
            bringing[said.blob] = said.size
        elif not has_room(self._folder, len(said.data)):  # Others were promised the same room, and have taken it.
            return Deposited(id=said.id, problem=NO_ROOM, retry_ms=FULL_RETRY_MS)
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

    def _is_here(self, owner: str, said: Deposit, repo: str) -> bool:
        """Whether it need not be brought: only what this repository has made before, for to know a digest is not to
        have what it is of.
        """
        if (owner, said.blob) not in self._brought and not self._shelf.known_to(repo, said.blob):
            return False
        try:
            return self._blobs.size(said.blob) == said.size
        except StoreError:
            return False  # Where nobody can look, it is brought once more.

    def _why_not(self, said: Deposit) -> str:
        """Why this blob cannot be taken now, or nothing."""
        if not 0 < said.size <= BLOB_BYTES_MAX:
            return f"an archive has at most {BLOB_BYTES_MAX // 1024**2} MiB"
        return "" if has_room(self._folder, said.size) else NO_ROOM

    def _kept(self, job: _Job, said: KeepArtifact | KeepCache) -> Noted:
        return self._artifact(said) if isinstance(said, KeepArtifact) else self._cache(job, said)

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

    def _look_at(self, said: DoubtBlob) -> Deposited:
        """Believe nobody's word: a blob goes only if it is really not what it is called."""
        if said.blob not in self._doubted or self.now() - self._doubted[said.blob] >= DOUBTED_MS:
            self._doubted[said.blob] = self.now()
            if len(self._doubted) > DOUBTED_MAX:
                self._doubted.popitem(last=False)
            if self._blobs.size(said.blob) is not None and not self._blobs.doubt(said.blob):
                voice.warning("a blob was damaged where it is kept, and is deleted", blob=said.blob)
        return Deposited(id=said.id, whole=True)


def _asked_for(spec: JobSpec, said: KeepArtifact | KeepCache) -> bool:
    """Whether the job is to keep this: its runner cannot make rows of what nobody asked for, nor for longer."""
    if isinstance(said, KeepCache):
        return any(named(said.paths) == named(cache.paths) for cache in spec.cache)
    return any((said.name, said.retention_ms) == (one.name, one.retention_ms) for one in spec.artifacts)


def _answer(said: AboutFiles, *, problem: str, retry_ms: int = 0) -> Message:
    """The answer to something that was not done."""
    if isinstance(said, SeekCache | Fetch):
        return refused(said, problem, retry_ms)
    return Deposited(id=said.id, problem=problem, retry_ms=retry_ms)
