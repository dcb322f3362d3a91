"""Runs one job here and now, in a work tree that is there already, through the same keeper as any runner.

What belongs here: a blocking call for `surveil run` and `surveil replay`. What does not: which jobs are run and in
which order, and what is told of them (`surveil.cli`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from surveil.clock import boot_ms
from surveil.core.model import AttemptId
from surveil.core.run_events import Collected, Ended
from surveil.core.run_verdict import after_collecting, collects, of_steps
from surveil.errors import InfrastructureError
from surveil.execute import files, processes
from surveil.execute.attempts import ended, surroundings
from surveil.execute.collect.collecting import Work, covering, gathered
from surveil.execute.collect.shared_here import Shared, SharedHere
from surveil.execute.containers.container import OFF, OWNER, Containers, Placed, chosen
from surveil.execute.containers.fetching import Fetch
from surveil.execute.containers.services import containers_of, images_of
from surveil.execute.environment import job_environment, step_orders
from surveil.execute.isolation.cgroups import PREFIX
from surveil.execute.isolation.isolating import UNKEPT, Isolation
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.endings import secret_words
from surveil.execute.keeper.entrusted import NOTHING, Entrusted, folder_for, make_folder
from surveil.execute.logs.output import CHUNK_BYTES_MAX
from surveil.execute.logs.spool import SpoolReader
from surveil.execute.nursery import Nursery, launch
from surveil.execute.process import LOG_BYTES_MAX
from surveil.execute.scene import BY_HAND, NOTHING_BESIDE, Beside, Scene, Told
from surveil.execute.scratch import ATTEMPT, note_engine, scratch, sweep
from surveil.execute.workspace import Workspace, remove
from surveil.protocol import Finished, ImageSpec, JobSpec
from surveil.say import Voice

LEASE_MS: Final = 10_000
"""The job ends so long after this process, should that be killed."""
END_S: Final = 15.0
"""How long a keeper may take to end everything below it at once."""
RENEW_MS: Final = 2_000
CLOCKS_NS: Final = 20_000_000
"""The times of files are those of a clock that ticks more slowly, so a file of now may look so much older."""
_ATTEMPT: Final[AttemptId] = ("1/local", 1)
_NO_SHA: Final = "0" * 40

voice = Voice("execute")


class LocalRun:
    """Jobs run one after another in the work tree `work`; close it to end the process that starts their keepers.

    Args:
        work: the tree in which the steps run, and which they may change.
        repo, ref, sha, told: what the steps are told about it, and about themselves.
        isolation: what keeps the steps from the rest of the machine.
        engine: of jobs with an image, as of `containers.chosen`; looked for when the first of them is run.
        beside: what is done before the first step and after the last.
        shared: hands out what shards share; by itself, all of it to whoever runs here.
    """

    def __init__(
        self,
        work: Path,
        *,
        repo: str = "",
        ref: str = "",
        sha: str = "",
        told: Told = BY_HAND,
        isolation: Isolation = UNKEPT,
        engine: str = OFF,
        shared: Shared | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> None:
        self._work = work.absolute()
        self._repo = repo or str(self._work)
        self._ref = ref
        self._sha = sha or _NO_SHA
        self._told = told
        self._beside = beside
        self._isolation = isolation
        self._engine = engine
        self._containers: Containers | None = None
        self._nursery = Nursery()
        self._shared: Shared = SharedHere() if shared is None else shared
        self._cancel_grace_ms: int | None = None
        self._control: int | None = None

    def __enter__(self) -> Self:
        sweep(self._isolation.limits)
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
        secrets: Entrusted = NOTHING,
        afterwards: Callable[[Scene], None] | None = None,
        attempt: int | None = None,
    ) -> Finished:
        """Run one job to its end, and return what it came to. Its folders are gone afterwards, its processes too.

        `afterwards` is called in between: when its processes are gone, and its folders are not. It is the attempt of
        this number, where that is not always the same.

        Raises:
            InfrastructureError: it could not be started, or its keeper died.
        """
        if attempt is not None:
            self._told = replace(self._told, attempt=attempt)
        with scratch() as root:
            try:
                return self._run(root, spec, on_output, secrets=secrets, afterwards=afterwards)
            finally:
                self._control = None
                remove(Path(folder_for(root.name)))

    def _run(
        self,
        root: Path,
        spec: JobSpec,
        on_output: Callable[[bytes], None],
        *,
        secrets: Entrusted,
        afterwards: Callable[[Scene], None] | None,
    ) -> Finished:
        folder = root / ATTEMPT
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
            assign = self._told.order(spec, repo=self._repo, ref=self._ref, sha=self._sha)
            work = Work(
                assign=assign, outcome="passed", workspace=workspace, since_ns=0, unwanted=lambda: False,
                cover=covering(lambda: secrets) if secrets.secrets() else str,
            )  # fmt: skip
            self._beside.restore(work)
            memory = folder_for(root.name) if secrets.files else ""
            placed = self._place(
                root, folder, workspace, spec, open_files,
                memory=memory, login=secrets.registry, kept=afterwards is not None,
            )  # fmt: skip
            where = surroundings(workspace, root.name, self._isolation, placed, memory)
            order = self._order(spec, workspace, root / files.BELL, secrets=memory, **where)
            began_ns = time.time_ns() - CLOCKS_NS
            pidfd = launch(self._nursery, folder, order, lambda: secrets)
            open_files.callback(os.close, pidfd)
            if self._cancel_grace_ms is not None:
                self.cancel(self._cancel_grace_ms)
            try:
                final = self._follow(folder, workspace, (bell, pidfd), on_output)
            finally:
                self._see_it_end(pidfd, workspace)
                if placed is None:
                    Confines(where["cgroups"]).remove()
            if placed is not None:
                self._give_back(_container_name(root), workspace, spec, [Path(memory)] if memory else [])
            finished = self._collected(final, replace(work, outcome=final.outcome, since_ns=began_ns))
            if afterwards is not None:
                name = "" if placed is None else _container_name(root)
                afterwards(Scene(finished=finished, order=order, workspace=workspace, secrets=secrets, container=name))
            return finished

    def _order(self, spec: JobSpec, workspace: Workspace, bell: Path, **where: Any) -> files.Order:
        """What the keeper is told to do."""
        environment = job_environment(
            spec, workspace, build=self._told.build, job=spec.name, attempt=self._told.attempt, repo=self._repo,
            ref=self._ref, sha=self._sha, event=self._told.event, runner="local",
            contained=spec.image is not None,
        )  # fmt: skip
        now = boot_ms()
        return files.Order(
            cwd=str(self._work),
            steps=step_orders(spec, workspace, environment),
            timeout_ms=spec.timeout_ms,
            accepted_boot_ms=now,
            lease_until_boot_ms=now + LEASE_MS,
            log_bytes_max=LOG_BYTES_MAX,
            bell=str(bell),
            outputs=str(workspace.outputs),
            **where,
        )

    def _collected(self, final: Ended, work: Work) -> Finished:
        """What the job came to, once all is collected."""
        spec = work.assign.spec
        finished = of_steps(final, final.outcome, final.reason)
        if not collects(spec, final.outcome):
            return finished
        done = gathered(self._beside.collectors, work)
        said = Collected(id=final.id, remarks=done.remarks, missing=done.missing, unkept=done.unkept)
        return after_collecting(finished, said)

    def problem_with(self, image: ImageSpec, spec: JobSpec, login: bytes = b"") -> str:
        """Why an image of a job cannot be had here, a clause; empty where it can, and then it is here. The `login` is
        for the registry of the job's own image.
        """
        home = images_of(spec)[0].name
        try:
            (self._containers or self._find()).resolve(image, Fetch(login, say=voice.info).of(image.name, home))
        except InfrastructureError as error:
            return str(error)
        return ""

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
        login: bytes,
        kept: bool,
    ) -> Placed | None:
        """The containers of a job that wants them, which are gone when all files are closed."""
        if spec.image is None:
            return None
        containers = self._containers or self._find()
        note_engine(root, containers)
        name = _container_name(root)
        labels = {OWNER: str(root), "surveil.job": spec.name}
        shown = [Path(memory)] if memory else []
        open_files.callback(self._give_back, name, workspace, spec, shown)
        for container in reversed(containers_of(name, spec.services)):
            open_files.callback(containers.remove, container)
        try:
            if memory:
                make_folder(memory)  # The engine would make one of its own.
        except OSError as error:
            raise InfrastructureError(secret_words(error)) from error
        resolved, *others = containers.resolve_all(spec, Fetch(login, say=voice.info))
        return containers.place(
            name, folder, workspace, spec.image, resolved, labels=labels, secrets=shown, trusted=self._told.trusted,
            kept=kept, services=[*zip(spec.services, others, strict=True)],
        )  # fmt: skip

    def _give_back(self, name: str, workspace: Workspace, spec: JobSpec, shown: list[Path]) -> None:
        """Make ours again what steps made as root; the job's own container may stand beside the one that does it."""
        if spec.image is not None and self._containers is not None:
            labels = {OWNER: str(workspace.root.parent)}
            self._containers.give_back(f"{name}-back", workspace, spec.image, labels, shown)

    @property
    def containers(self) -> Containers | None:
        """Where jobs with an image ran; None as long as none did."""
        return self._containers

    def _follow(
        self,
        folder: Path,
        workspace: Workspace,
        descriptors: tuple[int, int],
        on_output: Callable[[bytes], None],
    ) -> Ended:
        bell, pidfd = descriptors
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        with contextlib.closing(_Log(folder / files.SPOOL, on_output)) as log:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll(RENEW_MS)}
                if bell in ready:
                    os.read(bell, 4096)
                self._say(f"lease {boot_ms() + LEASE_MS}")
                status = files.read_status(str(folder))
                log.pass_on()
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


def _container_name(root: Path) -> str:
    return f"{PREFIX}{root.name}"


def _fifo(path: Path, open_files: contextlib.ExitStack) -> int:
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    open_files.callback(os.close, descriptor)
    return descriptor
