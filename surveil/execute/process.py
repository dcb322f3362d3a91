"""Runs attempts as processes of this machine: the executor that the runner uses.

What belongs here: the loop's side of it, that is threads for what blocks, the bell, the keepers' pidfds, and
telling. What does not: what is in the folders (`attempts`), what a keeper does (`keeper`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from surveil.core.model import AttemptId
from surveil.core.run_events import FoundAttempt, KeeperLost, LogGrew, PreparationFailed, Prepared, StepsChanged
from surveil.errors import InfrastructureError, SurveilError
from surveil.execute import files, processes
from surveil.execute.attempts import Folder, ended, folder_name, keeper_of, steps
from surveil.execute.contract import Tell
from surveil.execute.nursery import Nursery, launch
from surveil.execute.output import Chunk
from surveil.execute.supply import Supply
from surveil.execute.upkeep import Upkeep
from surveil.execute.workspace import Source, Workspace, prepare, remove
from surveil.mirror.command import Halt
from surveil.mirror.spare import Spares
from surveil.protocol import Assign
from surveil.say import Voice

THREADS: Final = 4
"""Checkouts and deletions at once; more would only fight for the disk."""
LOG_BYTES_MAX: Final = 1024 * 1024 * 1024
GONE_S: Final = 20.0
"""How long a keeper that has written its result may take to end, before it is killed."""
CLOSE_S: Final = 5.0
BELL_BYTES: Final = 64 * 1024

Result = TypeVar("Result")
voice = Voice("execute")


class _Attempt:
    """What the executor knows of one attempt beyond its folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.control: int | None = None
        self.pidfd: int | None = None
        self.gone = asyncio.Event()
        """Nothing of the attempt runs: no preparation, no keeper, no process."""
        self.log_bytes = 0
        self.ended = False
        self.doomed = False
        self.status_seen: tuple[int, int] | None = None


class ProcessExecutor:
    """Keeps the promise of `contract.Executor` with processes of this machine, below the data folder `data`."""

    def __init__(
        self, data: Path, runner: str, *, log_bytes_max: int = LOG_BYTES_MAX, supply: Supply | None = None
    ) -> None:
        self._data = data.absolute()
        self._runner = runner
        self._log_bytes_max = log_bytes_max
        self._supply = supply
        self._spares = Spares(self._data / "spares")
        self._upkeep = Upkeep(self._data, self._spares, busy=lambda: bool(self._names))
        self._attempts: dict[AttemptId, _Attempt] = {}
        self._names: dict[bytes, _Attempt] = {}
        self._nursery = Nursery()
        self._halt = Halt()
        self._pool = ThreadPoolExecutor(THREADS, "workspace")
        self._starting = ThreadPoolExecutor(1, "start")
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell: int | None = None
        self._rest = b""
        self._tell_now: Tell = lambda _: None

    # ---- beginning and end ----

    async def open(self, tell: Tell) -> list[FoundAttempt]:
        """Look at what is there, and tell from now on. Raises InfrastructureError when the folder cannot be used."""
        self._tell_now = tell
        bell = self._data / files.BELL
        try:
            for name in ("attempts", "workspaces", "mirrors"):
                (self._data / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(bell, 0o600)
            # Opened for writing as well: otherwise it would be at its end whenever no keeper is alive.
            self._bell = os.open(bell, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InfrastructureError(f"{self._data} cannot hold attempts: {error}") from error
        asyncio.get_running_loop().add_reader(self._bell, self._rung)
        self._start_task(self._warm())
        self._upkeep.begin()
        found = await self._in(self._pool, self._find)
        kept = [self._take_up(folder, pidfd) for folder, pidfd in found]
        self._start_task(self._sweep({attempt.folder.path.name for attempt in self._attempts.values()}))
        return kept

    async def close(self) -> None:
        """Stop telling and let go; keepers go on."""
        self._tell_now = lambda _: None
        loop = asyncio.get_running_loop()
        self._halt.ring()
        await self._upkeep.close()
        if self._tasks:
            # What is being deleted should be gone; what takes longer is swept at the next start.
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for attempt in self._attempts.values():
            self._let_go(attempt)
        self._attempts.clear()
        if self._bell is not None:
            loop.remove_reader(self._bell)
            os.close(self._bell)
            self._bell = None
        self._starting.submit(self._nursery.close)
        for pool in (self._starting, self._pool):
            await asyncio.to_thread(pool.shutdown)
        self._halt.close()

    async def _warm(self) -> None:
        """Have what starts keepers ready before the first order; a failure is told when an attempt needs it."""
        with contextlib.suppress(InfrastructureError):
            await self._in(self._starting, self._nursery.warm)

    def _find(self) -> list[tuple[Folder, int | None]]:
        """Read all attempts' folders, and remove what cannot be read."""
        found = []
        for path in sorted((self._data / "attempts").iterdir()):
            folder = Folder.read(path, self._data / "workspaces")
            if folder is None:
                self._remove(path)
                continue
            pidfd = keeper_of(path)
            if pidfd is None:
                self._end_left_behind(folder)
            folder.log_bytes()
            found.append((folder, pidfd))
        return found

    def _take_up(self, folder: Folder, pidfd: int | None) -> FoundAttempt:
        attempt = self._add(folder)
        kept = folder.found(folder.status(), kept=pidfd is not None)
        attempt.log_bytes = kept.log_bytes
        attempt.ended = kept.ended is not None or (kept.launched and pidfd is None)
        if pidfd is not None:
            attempt.control = os.open(folder.path / files.CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._watch(attempt, pidfd)
        elif kept.launched:
            attempt.gone.clear()
            self._start_task(self._clean(attempt))
        return kept

    def _end_left_behind(self, folder: Folder) -> None:
        """Without a keeper nothing of an attempt may run: end what a killed one left behind."""
        killed = processes.kill_left_behind(folder.workspace.root)
        if killed:
            job, attempt = folder.id
            voice.warning("processes left behind are ended", job=job, attempt=attempt, count=killed)

    async def _clean(self, attempt: _Attempt) -> None:
        """Remove the workspace of an attempt of which nothing runs any more."""
        await self._in(self._pool, partial(self._remove, attempt.folder.workspace.root))
        attempt.gone.set()

    async def _sweep(self, known: set[str]) -> None:
        """Remove the workspaces of attempts that are no more."""
        for path in list((self._data / "workspaces").iterdir()):
            if path.name not in known:
                await self._in(self._pool, partial(self._remove, path))

    # ---- what is asked ----

    def hold(self, assign: Assign, accepted_boot_ms: int) -> None:
        """Note on disk what is to be done. Raises OSError."""
        name = folder_name((assign.job, assign.attempt))
        folder = Folder(
            assign=assign,
            path=self._data / "attempts" / name,
            workspace=Workspace.below(self._data / "workspaces" / name),
            accepted_boot_ms=accepted_boot_ms,
        )
        folder.write()
        self._add(folder)

    def prepare(self, assign: Assign) -> None:
        """Make the work tree; tells `Prepared` or `PreparationFailed`."""
        attempt = self._attempts.get((assign.job, assign.attempt))
        if attempt is not None:
            attempt.gone.clear()
            self._upkeep.step_aside()
            self._start_task(self._prepare(attempt))

    async def _prepare(self, attempt: _Attempt) -> None:
        folder = attempt.folder
        source = Source(self._data / "mirrors", self._spares, self._halt, self._supply)
        try:
            await self._in(self._pool, partial(prepare, folder.workspace, source, folder.assign))
        except SurveilError as error:
            self._tell(PreparationFailed(id=folder.id, reason=str(error)))
            await self._clean(attempt)
        else:
            attempt.gone.set()
            self._tell(Prepared(id=folder.id))
            self._upkeep.used(folder.assign)

    def start(self, assign: Assign, accepted_boot_ms: int, lease_until_boot_ms: int | None) -> None:
        """Start the attempt's keeper, and tell what becomes of it."""
        attempt = self._attempts.get((assign.job, assign.attempt))
        if attempt is None:
            return
        try:
            control = attempt.folder.path / files.CONTROL
            os.mkfifo(control, 0o600)
            # Open from here on, so that what is said before the keeper listens is not lost.
            attempt.control = os.open(control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._tell(
                PreparationFailed(id=attempt.folder.id, reason=f"the runner's disk does not do its part: {error}")
            )
            return
        attempt.gone.clear()
        bell = self._data / files.BELL
        order = attempt.folder.order(
            self._runner, bell, accepted_boot_ms, lease_until_boot_ms, log_bytes_max=self._log_bytes_max
        )
        self._start_task(self._start(attempt, order))

    async def _start(self, attempt: _Attempt, order: files.Order) -> None:
        folder = attempt.folder
        try:
            pidfd = await self._in(self._starting, partial(launch, self._nursery, folder.path, order))
        except SurveilError as error:
            self._tell(PreparationFailed(id=folder.id, reason=str(error)))
            await self._clean(attempt)
            return
        self._watch(attempt, pidfd)
        self._look(attempt)
        if attempt.doomed:
            self.kill(folder.id)

    def signal(self, attempt: AttemptId, grace_ms: int) -> None:
        """Ask the attempt's processes to end, and make them after `grace_ms`."""
        self._command(attempt, f"cancel {grace_ms}\n")

    def set_lease(self, attempt: AttemptId, until_boot_ms: int) -> None:
        """Let an attempt that was started with a lease go on until then."""
        self._command(attempt, f"lease {until_boot_ms}\n")

    def _command(self, attempt: AttemptId, line: str) -> None:
        known = self._attempts.get(attempt)
        if known is not None and known.control is not None:
            # A keeper that left a thousand lines unread does not hear this one either; the mind kills it when it is
            # late.
            with contextlib.suppress(BlockingIOError):
                os.write(known.control, line.encode())

    def kill(self, attempt: AttemptId) -> None:
        """Kill the keeper; its end is then noticed as any other."""
        known = self._attempts.get(attempt)
        if known is None:
            return
        known.doomed = True
        if known.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(known.pidfd, signal.SIGKILL)

    def read_log(self, attempt: AttemptId, at: int, count: int) -> Chunk | None:
        """Up to `count` bytes of the log from byte `at` on; None if there are none. Raises ValueError if it is
        damaged.
        """
        known = self._attempts.get(attempt)
        if known is None or known.folder.reader is None:
            return None
        return known.folder.reader.read(at, count)

    def forget(self, attempt: AttemptId) -> None:
        """Delete all that is left of the attempt, as soon as nothing uses it."""
        known = self._attempts.pop(attempt, None)
        if known is not None:
            self._start_task(self._forget(known))

    async def _forget(self, attempt: _Attempt) -> None:
        try:
            await asyncio.wait_for(attempt.gone.wait(), GONE_S if attempt.pidfd is not None else None)
        except TimeoutError:
            if attempt.pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(attempt.pidfd, signal.SIGKILL)
            await attempt.gone.wait()
        self._names.pop(os.fsencode(attempt.folder.path.name), None)
        self._let_go(attempt)
        for path in (attempt.folder.workspace.root, attempt.folder.path):
            await self._in(self._pool, partial(self._remove, path))

    # ---- what is noticed ----

    def _rung(self) -> None:
        """Some keepers have news."""
        assert self._bell is not None
        with contextlib.suppress(BlockingIOError):
            *names, self._rest = (self._rest + os.read(self._bell, BELL_BYTES)).split(b"\n")
            for name in dict.fromkeys(names):
                if attempt := self._names.get(name):
                    self._look(attempt)

    def _look(self, attempt: _Attempt) -> None:
        """Tell what is new in an attempt's folder."""
        if attempt.ended:
            return
        folder = attempt.folder
        status = self._changed_status(attempt)
        log_bytes = folder.log_bytes()
        if log_bytes > attempt.log_bytes:
            attempt.log_bytes = log_bytes
            self._tell(LogGrew(id=folder.id, log_bytes=log_bytes))
        if status is None:
            return
        final = ended(folder.id, status)
        if final is not None:
            attempt.ended = True
            self._tell(final)
        else:
            self._tell(StepsChanged(id=folder.id, steps=steps(status)))

    def _changed_status(self, attempt: _Attempt) -> files.Status | None:
        try:
            found = (attempt.folder.path / files.STATUS).stat()
        except FileNotFoundError:
            return None
        seen = (found.st_ino, found.st_mtime_ns)
        if seen == attempt.status_seen:
            return None
        attempt.status_seen = seen
        return attempt.folder.status()

    def _watch(self, attempt: _Attempt, pidfd: int) -> None:
        attempt.pidfd = pidfd
        attempt.gone.clear()
        asyncio.get_running_loop().add_reader(pidfd, self._keeper_ended, attempt)

    def _keeper_ended(self, attempt: _Attempt) -> None:
        assert attempt.pidfd is not None
        asyncio.get_running_loop().remove_reader(attempt.pidfd)
        os.close(attempt.pidfd)
        attempt.pidfd = None
        attempt.status_seen = None
        self._look(attempt)
        self._start_task(self._after_keeper(attempt))

    async def _after_keeper(self, attempt: _Attempt) -> None:
        if not attempt.ended:
            attempt.ended = True
            trouble = attempt.folder.path / files.TROUBLE
            if trouble.exists():
                voice.error("keeper failed", trouble=trouble.read_text(encoding="utf-8", errors="replace"))
            await self._in(self._pool, partial(self._end_left_behind, attempt.folder))
            self._tell(KeeperLost(id=attempt.folder.id, log_bytes=attempt.folder.log_bytes()))
        await self._clean(attempt)

    # ---- how ----

    def _tell(self, happening: object) -> None:
        self._tell_now(happening)  # type: ignore[arg-type]  # only happenings are passed in

    def _add(self, folder: Folder) -> _Attempt:
        attempt = _Attempt(folder)
        attempt.gone.set()
        self._attempts[folder.id] = attempt
        self._names[os.fsencode(folder.path.name)] = attempt
        return attempt

    def _let_go(self, attempt: _Attempt) -> None:
        if attempt.pidfd is not None:
            asyncio.get_running_loop().remove_reader(attempt.pidfd)
            os.close(attempt.pidfd)
            attempt.pidfd = None
        if attempt.control is not None:
            os.close(attempt.control)
            attempt.control = None
        attempt.folder.close()

    def _remove(self, path: Path) -> None:
        try:
            remove(path)
        except InfrastructureError as error:
            voice.error(str(error))

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, call)
