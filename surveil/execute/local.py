"""Runs one job here and now, in a work tree that is there already, through the same keeper as any runner.

What belongs here: a blocking call for `surveil run`. What does not: which jobs are run and in which order.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from surveil.clock import boot_ms
from surveil.core.model import AttemptId
from surveil.core.run_events import Ended
from surveil.errors import InfrastructureError
from surveil.execute import files, processes
from surveil.execute.attempts import ended, steps, surroundings
from surveil.execute.cgroups import PREFIX
from surveil.execute.confines import Confines
from surveil.execute.containers import OFF, OWNER, Containers, Placed, chosen
from surveil.execute.endings import secret_words
from surveil.execute.entrusted import NOTHING, Entrusted, folder_for, make_folder
from surveil.execute.environment import job_environment, step_orders
from surveil.execute.isolating import UNKEPT, Isolation
from surveil.execute.keeping import missing_of
from surveil.execute.nursery import Nursery, launch
from surveil.execute.output import CHUNK_BYTES_MAX
from surveil.execute.process import LOG_BYTES_MAX
from surveil.execute.shared_here import SharedHere
from surveil.execute.spool import SpoolReader
from surveil.execute.workspace import Workspace, remove
from surveil.frozen import replace
from surveil.protocol import JobSpec, StepReport

LEASE_MS: Final = 10_000
"""The job ends so long after this process, should that be killed."""
END_S: Final = 15.0
"""How long a keeper may take to end everything below it at once."""
RENEW_MS: Final = 2_000
_ATTEMPT: Final[AttemptId] = ("1/local", 1)
_NO_SHA: Final = "0" * 40


class LocalRun:
    """Jobs run one after another in the work tree `work`; close it to end the process that starts their keepers.

    Args:
        work: the tree in which the steps run, and which they may change.
        repo, ref, sha: what the steps are told about it.
        isolation: what keeps the steps from the rest of the machine.
        engine: of jobs with an image, as of `containers.chosen`; looked for when the first of them is run.
    """

    def __init__(
        self,
        work: Path,
        *,
        repo: str = "",
        ref: str = "",
        sha: str = "",
        isolation: Isolation = UNKEPT,
        engine: str = OFF,
    ) -> None:
        self._work = work.absolute()
        self._repo = repo or str(self._work)
        self._ref = ref
        self._sha = sha or _NO_SHA
        self._isolation = isolation
        self._engine = engine
        self._containers: Containers | None = None
        self._nursery = Nursery()
        self._shared = SharedHere()
        self._cancel_grace_ms: int | None = None
        self._control: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.close()
        if self._containers is not None:
            self._containers.close()

    def cancel(self, grace_ms: int) -> None:
        """Ask the running job to end, and make it after `grace_ms`; may be called from a signal handler."""
        self._cancel_grace_ms = grace_ms
        self._say(f"cancel {grace_ms}")

    def run(
        self,
        spec: JobSpec,
        *,
        on_output: Callable[[bytes], None],
        on_steps: Callable[[tuple[StepReport, ...]], None] = lambda _: None,
        path: str | None = None,
        secrets: Entrusted = NOTHING,
    ) -> Ended:
        """Run one job to its end, and return what it came to. Its folders are gone afterwards, its processes too.

        Its artifacts stay where they are; one that it requires and did not make fails it as on a runner. Caches are not
        looked at: the tree has what earlier runs left in it.

        Raises:
            InfrastructureError: it could not be started, or its keeper died.
        """
        root = Path(tempfile.mkdtemp(prefix="surveil-"))
        try:
            ended = self._run(root, spec, on_output, on_steps, path, secrets=secrets)
            missing = missing_of(spec, self._work) if ended.outcome == "passed" else ""
            return replace(ended, outcome="failed", reason=missing) if missing else ended
        finally:
            self._control = None
            remove(root)
            remove(Path(folder_for(root.name)))

    def _run(
        self,
        root: Path,
        spec: JobSpec,
        on_output: Callable[[bytes], None],
        on_steps: Callable[[tuple[StepReport, ...]], None],
        path: str | None,
        *,
        secrets: Entrusted,
    ) -> Ended:
        folder = root / "attempt"
        workspace = Workspace(root=root / "space", work=self._work)
        with contextlib.ExitStack() as open_files:
            try:
                folder.mkdir(mode=0o700)
                workspace.make(spec)
                open_files.enter_context(self._shared.looking_after(spec, workspace))
                bell = _fifo(root / files.BELL, open_files)
                self._control = _fifo(folder / files.CONTROL, open_files)
            except OSError as error:
                raise InfrastructureError(f"no folder could be made for the job: {error}") from error
            environment = job_environment(
                spec, workspace, build="0", job=spec.name, attempt=1, repo=self._repo, ref=self._ref, sha=self._sha,
                event="manual", runner="local", path=path, contained=spec.image is not None,
            )  # fmt: skip
            now = boot_ms()
            memory = folder_for(root.name) if secrets.files else ""
            placed = self._place(root, folder, workspace, spec, open_files, memory=memory)
            where = surroundings(workspace, root.name, self._isolation, placed, memory)
            order = files.Order(
                cwd=str(self._work),
                steps=step_orders(spec, workspace, environment),
                timeout_ms=spec.timeout_ms,
                accepted_boot_ms=now,
                lease_until_boot_ms=now + LEASE_MS,
                log_bytes_max=LOG_BYTES_MAX,
                bell=str(root / files.BELL),
                outputs=str(workspace.outputs),
                secrets=memory,
                **where,
            )
            pidfd = launch(self._nursery, folder, order, lambda: secrets)
            open_files.callback(os.close, pidfd)
            if self._cancel_grace_ms is not None:
                self.cancel(self._cancel_grace_ms)
            try:
                return self._follow(folder, workspace, (bell, pidfd), on_output, on_steps)
            finally:
                self._see_it_end(pidfd, workspace)
                if placed is None:
                    Confines(where["cgroups"]).remove()

    def _find(self) -> Containers:
        limits = self._isolation.limits
        found, why = chosen(self._engine, memory_bytes=limits.memory_bytes, processes=limits.processes)
        if found is None:
            raise InfrastructureError(f"the job has an image, and {why}")
        self._containers = found
        return found

    def _place(
        self,
        root: Path,
        folder: Path,
        workspace: Workspace,
        spec: JobSpec,
        open_files: contextlib.ExitStack,
        *,
        memory: str,
    ) -> Placed | None:
        """The container of a job that wants one, which is gone when all files are closed."""
        if spec.image is None:
            return None
        containers = self._containers or self._find()
        name = f"{PREFIX}{root.name}"
        open_files.callback(containers.remove, name)
        labels = {OWNER: str(root), "surveil.job": spec.name}
        try:
            if memory:
                make_folder(memory)  # The engine would make one of its own.
        except OSError as error:
            raise InfrastructureError(secret_words(error)) from error
        shown = [Path(memory)] if memory else []
        return containers.place(name, folder, workspace, spec.image, labels, secrets=shown)

    def _follow(
        self,
        folder: Path,
        workspace: Workspace,
        descriptors: tuple[int, int],
        on_output: Callable[[bytes], None],
        on_steps: Callable[[tuple[StepReport, ...]], None],
    ) -> Ended:
        bell, pidfd = descriptors
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        told: tuple[StepReport, ...] = ()
        with contextlib.closing(_Log(folder / files.SPOOL, on_output)) as log:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll(RENEW_MS)}
                if bell in ready:
                    os.read(bell, 4096)
                self._say(f"lease {boot_ms() + LEASE_MS}")
                status = files.read_status(str(folder))
                log.pass_on()
                if status is not None and steps(status) != told:
                    told = steps(status)
                    on_steps(told)
                if pidfd in ready:
                    final = None if status is None else ended(_ATTEMPT, status)
                    if final is not None:
                        return final
                    processes.kill_left_behind(workspace.root)
                    raise InfrastructureError("the process that watched over the job died, and the job with it")

    def _see_it_end(self, pidfd: int, workspace: Workspace) -> None:
        """Leave nothing running, also when the caller's own function failed or a person interrupted us."""
        if select.select([pidfd], [], [], 0)[0]:
            return
        self._say("cancel 0")
        if not select.select([pidfd], [], [], END_S)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            processes.kill_left_behind(workspace.root)

    def _say(self, line: str) -> None:
        if self._control is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._control, f"{line}\n".encode())


class _Log:
    """Passes the log on as it grows."""

    def __init__(self, path: Path, on_output: Callable[[bytes], None]) -> None:
        self._path = path
        self._on_output = on_output
        self._reader: SpoolReader | None = None
        self._written = 0

    def pass_on(self) -> None:
        """Pass on what is new."""
        if self._reader is None:
            if not self._path.exists():
                return
            self._reader = SpoolReader(str(self._path))
        self._reader.look()
        while (chunk := self._reader.read(self._written, CHUNK_BYTES_MAX)) is not None:
            self._on_output(chunk.data)
            self._written += len(chunk.data)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()


def _fifo(path: Path, open_files: contextlib.ExitStack) -> int:
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    open_files.callback(os.close, descriptor)
    return descriptor
