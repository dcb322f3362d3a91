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
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from surveil.core.kept import RETENTION_MS, Artifact
from surveil.core.model import OPEN, Attempt, AttemptState
from surveil.core.state import State
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import BLOB_BYTES_MAX, Deposit, Deposited, KeepArtifact, Message
from surveil.say import Voice
from surveil.store import FullError, StoreError
from surveil.store.blobs import Blobs
from surveil.store.incoming import BlobRefused, Incoming
from surveil.store.shelf import Shelf

PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""More than this waits with its runners."""
TRANSFERS_MAX: Final = 16
"""Blobs that one runner may be bringing at once; an honest one brings four."""
AGAIN_MS: Final = 2_000
"""How long a runner should wait for what may be better soon."""
FULL_RETRY_MS: Final = 10_000
ROOM_MIB_MIN: Final = 500
ROOM_PERCENT_MIN: Final = 5
"""Of the disk, so much stays free for builds and logs, without which nothing goes on."""
_OWNER_DIGITS: Final = 16

About: TypeAlias = Deposit | KeepArtifact
voice = Voice("depot")


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to do in the thread: what was said, by whom, and for which repository."""

    received: Received
    said: About
    repo: str


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
        self._now = now
        self._reply = reply
        self._on_refused = on_refused
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blobs")
        self._pending: list[_Job] = []
        self._pending_bytes = 0
        self._news = asyncio.Event()
        self._transfers: dict[str, dict[str, int]] = {}
        """By runner, the blobs that it is bringing and their sizes. Only the thread uses it."""

    # ---- in the loop ------------------------------------------------------------------------------------------------

    def take(self, received: list[Received]) -> list[Received]:
        """Take what is about files, and return what is left."""
        left = []
        for item in received:
            if isinstance(item.message, Deposit | KeepArtifact):
                self._take_one(item, item.message)
            else:
                left.append(item)
        return left

    def _take_one(self, item: Received, said: About) -> None:
        attempt = self._state.attempts.get((said.job, said.attempt))
        if attempt is None or attempt.runner != item.peer.key or attempt.state not in OPEN:
            self._deny(item, said, attempt)
            return
        size = len(said.data) if isinstance(said, Deposit) else 0
        if self._pending_bytes + size <= PENDING_BYTES_MAX:
            self._pending.append(_Job(item, said, self._state.jobs[said.job].repo))
            self._pending_bytes += size
            self._news.set()

    def _deny(self, item: Received, said: About, attempt: Attempt | None) -> None:
        runner = self._state.runners.get(item.peer.key)
        # It may be taken back: its runner's two connections come in any order, and the other one will say.
        given_up = attempt is not None and attempt.runner == item.peer.key and attempt.state == AttemptState.LOST
        if given_up and (runner is None or not runner.online):
            answer = Deposited(id=said.id, problem="the attempt was given up", retry_ms=AGAIN_MS)
        else:
            self._on_refused(item.peer)
            answer = Deposited(id=said.id, problem="the dispatcher takes files only of an attempt that runs now")
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
            answers, artifacts = await loop.run_in_executor(self._thread, self._do, batch)
            for (route, number), artifact in artifacts.items():
                await loop.run_in_executor(self._write, self._shelf.keep, artifact)
                voice.info("artifact kept", job=artifact.job, attempt=artifact.attempt, name=artifact.name)
                answers[route, number] = Deposited(id=number, upto=artifact.size, whole=True)
            for (route, _), answer in answers.items():
                self._reply(route, answer)

    async def in_thread(self, work: Callable[[], None]) -> None:
        """Do something to the blobs while nobody else does."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Wait for the writing that has begun."""
        await asyncio.to_thread(self._thread.shutdown)
        self._incoming.close()

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def sweep_incoming(self) -> None:
        """Delete what was never finished. Raises StoreError."""
        self._incoming.sweep()

    def _do(self, batch: list[_Job]) -> tuple[dict[tuple[Route, int], Message], dict[tuple[Route, int], Artifact]]:
        """Write a batch; the answers are true when this returns, and the artifacts are still to be noted."""
        answers: dict[tuple[Route, int], Message] = {}
        artifacts: dict[tuple[Route, int], Artifact] = {}
        for job in batch:
            key = (job.received.route, job.said.id)
            try:
                if isinstance(job.said, Deposit):
                    answers[key] = self._deposit(job, job.said)
                elif self._blobs.size(job.said.blob) == job.said.size:
                    artifacts[key] = self._artifact(job.said)
                else:
                    answers[key] = Deposited(id=job.said.id, problem="what it is made of is not here")
            except BlobRefused as error:
                self._on_refused(job.received.peer)
                answers[key] = Deposited(id=job.said.id, problem=str(error), retry_ms=AGAIN_MS)
            except StoreError as error:
                if isinstance(error, FullError):
                    raise
                voice.error("files cannot be taken; they wait with their runners", reason=error)
                answers[key] = Deposited(id=job.said.id, problem=str(error), retry_ms=FULL_RETRY_MS)
        return answers, artifacts

    def _deposit(self, job: _Job, said: Deposit) -> Deposited:
        owner = hashlib.sha256(job.received.peer.key.encode()).hexdigest()[:_OWNER_DIGITS]
        bringing = self._transfers.setdefault(owner, {})
        if bringing.get(said.blob) != said.size:
            # Only what this repository has made before: to know a digest is not to have what it is of.
            if self._blobs.size(said.blob) == said.size and self._shelf.known_to(job.repo, said.blob):
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
        return Deposited(id=said.id, upto=upto, whole=True)

    def _why_not(self, said: Deposit) -> str:
        """Why this blob cannot be taken now, or nothing."""
        if not 0 < said.size <= BLOB_BYTES_MAX:
            return f"an archive has at most {BLOB_BYTES_MAX // 1024**2} MiB"
        disk = shutil.disk_usage(self._folder)
        least = max(ROOM_MIB_MIN * 1024**2, disk.total * ROOM_PERCENT_MIN // 100)
        return "" if disk.free - said.size >= least else "the dispatcher's disk is nearly full"

    def _artifact(self, said: KeepArtifact) -> Artifact:
        now = self._now()
        return Artifact(
            job=said.job, attempt=said.attempt, name=said.name, blob=said.blob, size=said.size, files=said.files,
            kept_at=now, expires_at=now + (said.retention_ms or RETENTION_MS),
        )  # fmt: skip
