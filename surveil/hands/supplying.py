"""Gives out commits to runners that cannot get them: bundles made once, and served piece by piece.

What belongs here: the observer's side of a transfer, that is when a bundle is made, how long it is kept, and what is
answered to each `Want`. What does not: what is in a bundle (`mirror.bundle`), and who may ask (`relay`).

Nothing is known of a transfer, only bundles are kept. Their files have no names: they take no room once nobody serves
them, however this process ends.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from surveil.errors import InfrastructureError, SurveilError
from surveil.mirror.bundle import make_bundle
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import CHUNK_BYTES_MAX, Pack, Want
from surveil.say import Voice

MAKING_MAX: Final = 2
"""Bundles made at once: git uses several processors for each, and polls of refs should not wait for them."""
MAKING_QUEUE_MAX: Final = 64
KEPT_MAX: Final = 64
KEPT_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
"""The newest one is kept whatever its size."""
KEPT_MS: Final = 10 * 60_000
"""How long a bundle is kept that nobody asks for."""
FAILURE_MS: Final = 10_000
"""How long a failure answers further questions without being tried again."""
WAITING_MAX: Final = 256
"""Runners that are answered as soon as one bundle is made; others ask again."""
MAKING_RETRY_MS: Final = 2_000
PROBLEM_CHARS_MAX: Final = 1_000
_MADE_BITS: Final = 48

_Key: TypeAlias = tuple[str, str, tuple[str, ...]]
voice = Voice("observer")


@dataclass(slots=True)
class _Made:
    """A bundle that lies in a file, or the problem that kept it from being made. `number` is unlike any other's."""

    file: io.BufferedRandom | None
    total: int
    problem: str
    used_at: int
    number: int = field(default_factory=lambda: secrets.randbits(_MADE_BITS))


class Supplier:
    """Answers wants. `mirrors` are those of the repositories that are watched, and `start` starts a task of the owner;
    files lie in `folder` without a name.
    """

    def __init__(
        self,
        folder: Path,
        mirrors: Mapping[str, Mirror],
        *,
        send: Callable[[Pack], bool],
        start: Callable[[Coroutine[None, None, None]], None],
        now: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._mirrors = mirrors
        self._send = send
        self._start = start
        self._now = now
        self._made: OrderedDict[_Key, _Made] = OrderedDict()
        self._making: dict[_Key, dict[tuple[str, int], Want]] = {}
        """Bundles that are being made, and who is answered then."""
        self._threads = ThreadPoolExecutor(MAKING_MAX, "supply")

    def answer(self, want: Want) -> None:
        """Answer now, or as soon as the bundle is made. What cannot be said is left to be asked again."""
        key = (want.repo, want.sha, want.have)
        mirror = self._mirrors.get(want.repo)
        self.expire()
        if mirror is None:
            self._deny(want, f"this observer does not watch {want.repo}")
        elif (made := self._made.get(key)) is not None:
            made.used_at = self._now()
            self._made.move_to_end(key)
            self._serve(want, made)
        elif (waiting := self._making.get(key)) is not None:
            self._wait(want, waiting)
        elif len(self._making) >= MAKING_QUEUE_MAX:
            self._deny(want, "", retry_ms=MAKING_RETRY_MS)
        else:
            self._making[key] = {(want.runner, want.id): want}
            self._start(self._make(key, mirror))

    def expire(self) -> None:
        """Give up what nobody asked for in a while."""
        now = self._now()
        for key, made in list(self._made.items()):
            if now - made.used_at > (FAILURE_MS if made.file is None else KEPT_MS):
                self._give_up(key)

    async def close(self) -> None:
        """Free all files, once the tasks that were started have ended; ringing the mirrors' bell hastens that."""
        await asyncio.to_thread(self._threads.shutdown)
        for key in list(self._made):
            self._give_up(key)

    # ---- making ----

    async def _make(self, key: _Key, mirror: Mirror) -> None:
        repo, sha, have = key
        made = await asyncio.get_running_loop().run_in_executor(self._threads, self._make_file, mirror, sha, have)
        waiting = self._making.pop(key)
        if made is None:
            return
        if made.problem:
            voice.warning("commit cannot be supplied", repo=repo, sha=sha, reason=made.problem)
        else:
            voice.info("commit supplied to runners", repo=repo, sha=sha, bytes=made.total)
        self._made[key] = made
        self._make_room()
        for want in waiting.values():
            self._serve(want, made)

    def _make_file(self, mirror: Mirror, sha: str, have: tuple[str, ...]) -> _Made | None:
        """Make a bundle, in a thread; None when this process stops."""
        try:
            file = self._open()
            try:
                total = make_bundle(mirror, sha, have, file)
            except SurveilError:
                file.close()
                raise
        except SurveilError as problem:
            if isinstance(problem, MirrorError) and problem.trouble is Trouble.HALTED:
                return None
            return _Made(file=None, total=0, problem=str(problem)[:PROBLEM_CHARS_MAX], used_at=self._now())
        return _Made(file=file, total=total, problem="", used_at=self._now())

    def _open(self) -> io.BufferedRandom:
        try:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - it stays open as long as it is served
        except OSError as error:
            raise InfrastructureError(f"{self._folder} cannot be written: {error.strerror}") from error
        assert isinstance(file, io.BufferedRandom), "a temporary file is read and written"
        return file

    def _make_room(self) -> None:
        """Give up the bundles that were not asked for the longest time, until the others are within the limits."""
        total = sum(made.total for made in self._made.values())
        for key, made in list(self._made.items())[:-1]:
            if total <= KEPT_BYTES_MAX and len(self._made) <= KEPT_MAX:
                return
            total -= made.total
            self._give_up(key)

    def _give_up(self, key: _Key) -> None:
        made = self._made.pop(key)
        if made.file is not None:
            made.file.close()

    # ---- answering ----

    def _wait(self, want: Want, waiting: dict[tuple[str, int], Want]) -> None:
        """Who asks again before the bundle is made hears that it is being made; the silence would seem long."""
        if (want.runner, want.id) in waiting or len(waiting) >= WAITING_MAX:
            self._deny(want, "", retry_ms=MAKING_RETRY_MS)
        else:
            waiting[want.runner, want.id] = want

    def _serve(self, want: Want, made: _Made) -> None:
        if made.file is None:
            self._deny(want, made.problem)
        elif want.at >= made.total:
            self._deny(want, f"what is supplied of commit {want.sha} has {made.total} bytes, and none at {want.at}")
        else:
            # The file was written a moment ago, so this reads memory and does not hold up the loop.
            data = os.pread(made.file.fileno(), CHUNK_BYTES_MAX, want.at)
            self._send(Pack(id=want.id, runner=want.runner, made=made.number, at=want.at, total=made.total, data=data))

    def _deny(self, want: Want, problem: str, *, retry_ms: int = 0) -> None:
        self._send(Pack(id=want.id, runner=want.runner, at=want.at, problem=problem, retry_ms=retry_ms))
