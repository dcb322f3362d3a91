"""Runs attempts as processes of this machine: the executor that the runner uses.

What belongs here: an attempt's way from its order to its deletion, and threads for what blocks. What does not: what
is in the folders (`attempts`), what a keeper does (`keeper`) and how it is noticed (`lookout`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from surveil.core.model import AttemptId
from surveil.core.run_events import Collected, FoundAttempt, KeeperLost, PreparationFailed, Prepared
from surveil.disk import make_folder
from surveil.errors import InfrastructureError, SurveilError
from surveil.execute import files
from surveil.execute.attempts import Folder, folder_name, group_prefix, keeper_of, left_in_memory
from surveil.execute.collect.collecting import Collector, Restore, Unwanted, collect
from surveil.execute.containers.container import Containers
from surveil.execute.containers.housing import Housing
from surveil.execute.contract import Broken, Happening, Tell
from surveil.execute.isolation.isolating import UNKEPT, Isolation
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.entrusted import NOTHING
from surveil.execute.logs.output import Chunk
from surveil.execute.lookout import Lookout, OpenEnvelope, Watched, from_threads
from surveil.execute.nursery import Nursery, launch
from surveil.execute.salvage import salvage
from surveil.execute.transfer.supply import Supply
from surveil.execute.unreadable import ALONE_S, Unreadable, end_left_behind, end_unread
from surveil.execute.upkeep import Upkeep
from surveil.execute.workspace import Source, Workspace, prepare, remove
from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.command import Halt
from surveil.mirror.spare import Spares
from surveil.places import ATTEMPTS, MIRRORS, SPARES, WORKSPACES
from surveil.protocol import Assign, Outcome
from surveil.say import Voice
from surveil.tasks import Tasks

THREADS: Final = 4
"""Checkouts and deletions at once, and works collected; more would only fight for the disk."""
LOG_BYTES_MAX: Final = 1024 * 1024 * 1024
GONE_S: Final = 20.0
"""How long a keeper that has written its result may take to end, before it is killed."""
CLOSE_S: Final = 5.0

Result = TypeVar("Result")
voice = Voice("execute")


class ProcessExecutor:
    """Keeps the promise of `contract.Executor` with processes of this machine, below the data folder `data`."""

    def __init__(
        self,
        data: Path,
        runner: str,
        *,
        log_bytes_max: int = LOG_BYTES_MAX,
        supply: Supply | None = None,
        access: Access = NO_ACCESS,
        isolation: Isolation = UNKEPT,
        open_envelope: OpenEnvelope = lambda _: NOTHING,
        collectors: Sequence[Collector] = (),
        restore: Restore | None = None,
        containers: Containers | None = None,
    ) -> None:
        self._data = data.absolute()
        self._runner = runner
        self._log_bytes_max = log_bytes_max
        self._supply = supply
        self._access = access
        self._isolation = isolation
        self._open = open_envelope
        self._housing = Housing(containers, self._data, runner, open_envelope)
        self._collectors, self._restore = (self._housing.give_back, *collectors), restore
        self._spares = Spares(self._data / SPARES)
        self._unreadable = Unreadable(self._data)
        self._alone: asyncio.TimerHandle | None = None
        self._upkeep = Upkeep(
            self._data, self._spares, busy=lambda: not self._lookout.empty, kept=self._unreadable.kept,
            sweep=lambda: self._housing.sweep(lambda: self._unreadable.kept() | self._lookout.names()),
        )  # fmt: skip
        self._attempts: dict[AttemptId, Watched] = {}
        self._lookout = Lookout(self._data / files.BELL, self._tell, self._keeper_ended)
        self._nursery = Nursery()
        self._halt = Halt()
        self._pool = ThreadPoolExecutor(THREADS, "workspace")
        self._starting = ThreadPoolExecutor(1, "start")
        self._collecting = ThreadPoolExecutor(THREADS, "collect")
        self._closing = threading.Event()
        self._tasks = Tasks(lambda failure: self._tell(Broken(failure)))
        self._tell_now: Tell = lambda _: None

    # ---- beginning and end ----

    async def open(self, tell: Tell) -> list[FoundAttempt]:
        """Look at what is there, and tell from now on. Raises InfrastructureError when the folder cannot be used."""
        self._tell_now = tell
        try:
            for name in (ATTEMPTS, WORKSPACES, MIRRORS):
                make_folder(self._data / name)
            self._lookout.open()
        except OSError as error:
            raise InfrastructureError(f"{self._data} cannot hold attempts: {error}") from error
        self._tasks.start(self._warm())
        self._tasks.start(self._upkeep.run())
        found = await self._in(self._pool, self._find)
        kept = [self._take_up(folder, pidfd) for folder, pidfd in found]
        self._tasks.start(self._sweep(self._lookout.names() | self._unreadable.kept()))
        if self._unreadable:
            self._alone = asyncio.get_running_loop().call_later(ALONE_S, self._end_unreadable)
        return kept

    async def close(self) -> None:
        """Stop telling and let go; keepers go on."""
        self._tell_now = lambda _: None
        self._halt.ring()
        self._closing.set()
        if self._alone is not None:
            self._alone.cancel()
        self._upkeep.close()
        # What is being deleted should be gone; what takes longer is swept at the next start.
        await self._tasks.wait(CLOSE_S)
        await self._tasks.end()
        self._attempts.clear()
        self._lookout.close()
        self._starting.submit(self._nursery.close)
        for pool in (self._starting, self._collecting, self._pool):
            await asyncio.to_thread(pool.shutdown)
        self._housing.close()
        self._halt.close()

    async def _warm(self) -> None:
        """Have what starts keepers ready before the first order; a failure is told when an attempt needs it."""
        with contextlib.suppress(InfrastructureError):
            await self._in(self._starting, self._nursery.warm)

    def _find(self) -> list[tuple[Folder, int | None]]:
        """Read all attempts' folders, and remove what nobody will ever read."""
        found = []
        for path in sorted((self._data / ATTEMPTS).iterdir()):
            folder = Folder.read(path, self._data / WORKSPACES)
            if folder is None:
                if not self._unreadable.take(path):
                    end_unread(path, self._data / WORKSPACES / path.name)
                    self._remove(path)
                continue
            try:
                pidfd = keeper_of(path)
            except TimeoutError as problem:
                voice.warning("attempt is lost", job=folder.id[0], attempt=folder.id[1], reason=str(problem))
                pidfd = None
            if pidfd is None:
                self._end_left_behind(folder)
                folder.settle()
            folder.log_bytes()
            found.append((folder, pidfd))
        return found

    def _take_up(self, folder: Folder, pidfd: int | None) -> FoundAttempt:
        attempt = self._add(folder)
        kept = folder.found(folder.status(), kept=pidfd is not None)
        attempt.log_bytes = kept.log_bytes
        attempt.ended = kept.ended is not None or (kept.launched and pidfd is None)
        attempt.final, attempt.collected = kept.ended, kept.collected is not None
        if pidfd is not None:
            attempt.open_control()
            self._lookout.watch(attempt, pidfd)
        elif kept.launched and not attempt.waits_to_be_collected:
            attempt.gone.clear()
            self._tasks.start(self._clean(attempt))
        return kept

    def _end_left_behind(self, folder: Folder) -> bool:
        """Without a keeper nothing of an attempt may run: end what one left behind; whether that is news of steps."""
        self._housing.remove(folder)
        killed = end_left_behind(folder.path, folder.workspace.root)
        if killed:
            voice.warning("processes left behind are ended", job=folder.id[0], attempt=folder.id[1], count=killed)
        return salvage(folder)

    def _end_unreadable(self) -> None:
        self._tasks.start(self._in(self._pool, self._unreadable.end))

    async def _clean(self, attempt: Watched) -> None:
        """Remove the workspace of an attempt of which nothing runs any more."""
        await self._in(self._pool, partial(self._housing.remove, attempt.folder))
        for path in (attempt.folder.workspace.root, *attempt.folder.in_memory()):
            await self._in(self._pool, partial(self._remove, path))
        attempt.gone.set()

    async def _sweep(self, known: set[str]) -> None:
        """Remove the workspaces and control groups of attempts that are no more; their containers are `upkeep`'s."""
        # Seen before anything is waited for: what comes later is somebody's.
        prefix = group_prefix(self._data)
        strays = [path for path in (self._data / WORKSPACES).iterdir() if path.name not in known]
        strays += left_in_memory(prefix, known)
        left = self._isolation.limits.left_behind(prefix, [prefix + name for name in known])
        if left:
            await self._in(self._pool, Confines(left).remove)
        for path in strays:
            await self._in(self._pool, partial(self._remove, path))

    # ---- what is asked ----

    def hold(self, assign: Assign, accepted_boot_ms: int) -> None:
        """Note on disk what is to be done. Raises OSError."""
        name = folder_name((assign.job, assign.attempt))
        folder = Folder(
            assign=assign,
            path=self._data / ATTEMPTS / name,
            workspace=Workspace.below(self._data / WORKSPACES / name),
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
            self._tasks.start(self._prepare(attempt))

    async def _prepare(self, attempt: Watched) -> None:
        folder = attempt.folder
        source = Source(self._data / MIRRORS, self._spares, self._halt, self._supply, self._access)
        stopped = attempt.stopped(self._halt)
        try:
            await self._in(self._pool, partial(self._housing.prepare, folder, stopped, from_threads(self._tell)))
            await self._in(self._pool, partial(prepare, folder.workspace, source, folder.assign))
            if self._restore is not None:
                work = attempt.work("passed", self._closing, self._open)
                await self._in(self._pool, partial(self._restore, work))
        except Unwanted:
            await self._clean(attempt)
        except SurveilError as error:
            self._tell(PreparationFailed(id=folder.id, reason=str(error), blameless=error.blameless))
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
            os.mkfifo(attempt.folder.path / files.CONTROL, 0o600)
            # Open from here on, so that what is said before the keeper listens is not lost.
            attempt.open_control()
        except OSError as error:
            reason = f"the runner's disk does not do its part: {error}"
            self._tell(PreparationFailed(id=attempt.folder.id, reason=reason))
            return
        attempt.gone.clear()
        self._tasks.start(self._start(attempt, accepted_boot_ms, lease_until_boot_ms))

    async def _start(self, attempt: Watched, accepted_boot_ms: int, lease_until_boot_ms: int | None) -> None:
        folder = attempt.folder
        try:
            placed = await self._in(self._pool, partial(self._housing.place, folder))
            order = folder.order(
                self._runner, self._data / files.BELL, accepted_boot_ms, lease_until_boot_ms,
                log_bytes_max=self._log_bytes_max, isolation=self._isolation, placed=placed,
            )  # fmt: skip
            opened = partial(self._open, folder.assign)
            pidfd = await self._in(self._starting, partial(launch, self._nursery, folder.path, order, opened))
        except SurveilError as error:
            self._tell(PreparationFailed(id=folder.id, reason=str(error), blameless=error.blameless))
            await self._clean(attempt)
            return
        self._lookout.watch(attempt, pidfd)
        self._lookout.look(attempt)
        if attempt.doomed:
            self.kill(folder.id)

    def signal(self, attempt: AttemptId, grace_ms: int) -> None:
        """Ask the attempt's processes to end, and make them after `grace_ms`."""
        if known := self._attempts.get(attempt):
            known.say(f"cancel {grace_ms}")

    def set_lease(self, attempt: AttemptId, until_boot_ms: int) -> None:
        """Let an attempt that was started with a lease go on until then."""
        if known := self._attempts.get(attempt):
            known.say(f"lease {until_boot_ms}")

    def kill(self, attempt: AttemptId) -> None:
        """Kill the keeper; its end is then noticed as any other."""
        if known := self._attempts.get(attempt):
            known.doomed = True
            known.kill_keeper()

    def collect(self, assign: Assign, outcome: Outcome) -> None:
        """Keep what the job asks for of its work; tells `Collected`, and removes the workspace."""
        attempt = self._attempts.get((assign.job, assign.attempt))
        if attempt is not None and not attempt.collecting:
            attempt.collecting = True
            attempt.gone.clear()
            self._tasks.start(self._collect(attempt, outcome))

    async def _collect(self, attempt: Watched, outcome: Outcome) -> None:
        folder, work = attempt.folder, attempt.work(outcome, self._closing, self._open)
        try:
            told = await self._in(
                self._collecting,
                partial(collect, self._collectors, work, folder.path, sound=folder.same_boot),
            )
        except Unwanted:
            attempt.gone.set()
            return  # It was forgotten; or we end, and the next process begins anew.
        except OSError as error:
            # Without its note it is collected again, should we be killed now: the files have to stay.
            remark = f"the runner's disk does not do its part: {error.strerror}"
            self._tell(Collected(id=folder.id, remarks=(remark,)))
            attempt.gone.set()
            return
        finally:
            attempt.collecting = False
        attempt.collected = True
        self._tell(told)
        if attempt.pidfd is None:  # Else its keeper has yet to end.
            await self._clean(attempt)

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
            known.unwanted.set()
            self._tasks.start(self._forget(known))

    async def _forget(self, attempt: Watched) -> None:
        try:
            await asyncio.wait_for(attempt.gone.wait(), GONE_S if attempt.pidfd is not None else None)
        except TimeoutError:
            attempt.kill_keeper()
            await attempt.gone.wait()
        for path in (attempt.folder.workspace.root, attempt.folder.path):
            await self._in(self._pool, partial(self._remove, path))
        self._lookout.drop(attempt)

    # ---- what is noticed ----

    def _keeper_ended(self, attempt: Watched) -> None:
        self._tasks.start(self._after_keeper(attempt))

    async def _after_keeper(self, attempt: Watched) -> None:
        if not attempt.ended:
            attempt.ended = True
            trouble = attempt.folder.path / files.TROUBLE
            if trouble.exists():
                voice.error("keeper failed", trouble=trouble.read_text(encoding="utf-8", errors="replace"))
            if await self._in(self._pool, partial(self._end_left_behind, attempt.folder)):
                self._lookout.tell_steps(attempt)
            self._tell(KeeperLost(id=attempt.folder.id, log_bytes=attempt.folder.log_bytes()))
        if attempt.collecting:
            return
        if attempt.waits_to_be_collected:
            attempt.gone.set()
        else:
            await self._clean(attempt)

    # ---- how ----

    def _tell(self, happening: Happening) -> None:
        self._tell_now(happening)

    def _add(self, folder: Folder) -> Watched:
        attempt = self._attempts[folder.id] = self._lookout.add(folder)
        return attempt

    def _remove(self, path: Path) -> None:
        try:
            remove(path)
        except InfrastructureError as error:
            voice.error(str(error))

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, call)
