"""The attempts' folders as the agent sees them: what is in them, who watches over them, what earlier processes
left.

What belongs here: names, the assignment's note, locks, statuses turned into the mind's events. What does not:
threads, the loop and the telling (`process`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args
from zlib import crc32

from surveil.core.model import AttemptId
from surveil.core.run_events import Ended, FoundAttempt
from surveil.errors import ProtocolError
from surveil.execute import files
from surveil.execute.collect.collecting import noted
from surveil.execute.containers.container import Placed
from surveil.execute.environment import job_environment, step_orders
from surveil.execute.isolation.cgroups import PREFIX
from surveil.execute.isolation.isolating import Isolation
from surveil.execute.keeper.entrusted import MEMORY, folder_for
from surveil.execute.logs.spool import SpoolReader
from surveil.execute.workspace import Workspace
from surveil.protocol import OUTPUTS_MAX, Assign, JobOutput, Outcome, Remark, StepReport, StepState, decode, encode

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_OUTCOMES: Final = frozenset(get_args(Outcome))
_STEP_STATES: Final = frozenset(get_args(StepState))
_NAME_CHARS_MAX: Final = 24
BIRTH_S: Final = 5.0
"""How long a keeper may take to say that it lives."""
BIRTH_LOOK_S: Final = 0.01


def folder_name(attempt: AttemptId) -> str:
    """A short name for an attempt's folders, readable at its beginning and distinct at its end.

    Short, because the path of a socket in a job's TMPDIR may have no more than 107 bytes.
    """
    job, number = attempt
    plain = re.sub(r"[^A-Za-z0-9]+", "-", job)[:_NAME_CHARS_MAX].strip("-")
    return f"{plain}.{number}-{hashlib.sha256(job.encode(errors='surrogateescape')).hexdigest()[:8]}"


def group_prefix(data: Path) -> str:
    """How the names of control groups begin that belong to a data folder: to this very one, and not to a copy of it,
    nor to one of the same name in another container of this machine.
    """
    found = data.stat()
    return f"{crc32(b'%d %d ' % (found.st_dev, found.st_ino) + os.fsencode(data)):08x}-"


def left_in_memory(prefix: str, known: Iterable[str]) -> list[Path]:
    """Folders for secrets of attempts whose groups begin like this, but for those of known ones: their keepers were
    killed, and nobody was there to see it.
    """
    kept = {folder_for(prefix + name) for name in known}
    return [path for path in Path(MEMORY).glob(f"{Path(folder_for(prefix)).name}*") if str(path) not in kept]


@dataclass(slots=True, kw_only=True)
class Folder:
    """One attempt on this machine's disk."""

    assign: Assign
    path: Path
    workspace: Workspace
    accepted_boot_ms: int
    same_boot: bool = True
    """Whether the machine has been up since; if not, what was not on the platter is gone."""
    reader: SpoolReader | None = None

    @property
    def id(self) -> AttemptId:
        """Its job and number."""
        return (self.assign.job, self.assign.attempt)

    @property
    def group(self) -> str:
        """What its control groups are called: after its data folder and itself, as a machine may have many of both."""
        return f"{group_prefix(self.path.parent.parent)}{self.path.name}"

    @property
    def container(self) -> str:
        """What its container is called, if it has one."""
        return f"{PREFIX}{self.group}"

    @property
    def secrets(self) -> str:
        """The folder in memory for files with its secrets; empty where it has none."""
        wanted = self.assign.envelope and any(use.file for use in self.assign.spec.secrets)
        return folder_for(self.group) if wanted else ""

    def in_memory(self) -> list[Path]:
        """What of it lies in memory, to be removed like its workspace."""
        return [Path(self.secrets)] if self.secrets else []

    def write(self) -> None:
        """Note what is to be done. Raises OSError.

        Nothing waits for the platter: should the machine lose its power, its next start is another incarnation, for
        which no order of today is meant. With the first of its log, the keeper puts it there, so that it is found.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        frames = [base64.b64encode(frame).decode() for frame in encode(self.assign)]
        note = {"boot": _boot_id(), "accepted_boot_ms": self.accepted_boot_ms, "assign": frames}
        files.write_fields(str(self.path / files.ACCEPTED), note, sync=False)

    @classmethod
    def read(cls, path: Path, workspaces: Path) -> Folder | None:
        """What is in a folder; None if nothing can be made of it."""
        try:
            note = files.read_fields(str(path / files.ACCEPTED))
            assign = decode([base64.b64decode(frame) for frame in note["assign"]])
            accepted = int(note["accepted_boot_ms"])
            same_boot = note["boot"] == _boot_id()
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, ProtocolError):
            return None
        if not isinstance(assign, Assign):
            return None
        return cls(
            assign=assign,
            path=path,
            workspace=Workspace.below(workspaces / path.name),
            # The machine has started anew: the best that is known is that it was before that.
            accepted_boot_ms=accepted if same_boot else 0,
            same_boot=same_boot,
        )

    def order(
        self,
        runner: str,
        bell: Path,
        accepted_boot_ms: int,
        lease_until_boot_ms: int | None,
        *,
        log_bytes_max: int,
        isolation: Isolation,
        placed: Placed | None = None,
    ) -> files.Order:
        """What the keeper is told to do, in the container that was `placed` for it or without. Looks into the work
        tree.
        """
        assign = self.assign
        environment = job_environment(
            assign.spec,
            self.workspace,
            build=str(assign.build),
            job=assign.spec.name,
            attempt=assign.attempt,
            repo=assign.repo,
            ref=assign.ref,
            sha=assign.sha,
            event=assign.event,
            runner=runner,
            contained=placed is not None,
        )
        return files.Order(
            cwd=str(self.workspace.work),
            steps=step_orders(assign.spec, self.workspace, environment),
            timeout_ms=assign.spec.timeout_ms,
            accepted_boot_ms=accepted_boot_ms,
            lease_until_boot_ms=lease_until_boot_ms,
            log_bytes_max=log_bytes_max,
            bell=str(bell),
            outputs=str(self.workspace.outputs),
            secrets=self.secrets,
            **surroundings(self.workspace, self.group, isolation, placed, self.secrets),
        )

    def began_ns(self) -> int:
        """When its first step was about to begin, by the clock that the times of files are of; 0 where it never was."""
        try:
            return (self.path / files.ORDER).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def log_bytes(self) -> int:
        """How long the log is now."""
        if self.reader is None:
            try:
                self.reader = SpoolReader(str(self.path / files.SPOOL))
            except FileNotFoundError:
                return 0
        return self.reader.look()

    def settle(self) -> None:
        """Its keeper is gone: its log grows no more, and where that was by a power cut, it ends where it is sound."""
        if self.log_bytes() and self.reader is not None and not self.same_boot:
            self.reader.settle()

    def status(self) -> files.Status | None:
        """What the keeper wrote last; None if there is nothing of sense."""
        try:
            return files.read_status(str(self.path))
        except (OSError, ValueError):
            return None

    def found(self, status: files.Status | None, *, kept: bool) -> FoundAttempt:
        """This attempt as an earlier process left it."""
        return FoundAttempt(
            assign=self.assign,
            accepted_at=self.accepted_boot_ms,
            # A power cut may have taken the order, and must not let the attempt begin again.
            launched=not self.same_boot or (self.path / files.ORDER).exists(),
            kept=kept,
            ended=None if status is None else ended(self.id, status),
            collected=noted(self.id, self.path),
            steps=() if status is None else steps(status),
            log_bytes=self.log_bytes(),
        )

    def close(self) -> None:
        """Let go of the log."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None


def surroundings(
    workspace: Workspace, group: str, isolation: Isolation, placed: Placed | None, secrets: str = ""
) -> dict[str, Any]:
    """The fields of an order that say where its steps run, and see the folder for their secrets."""
    if placed is not None:
        return {
            "isolation": placed.isolation,
            "sandbox": [],
            "cgroups": placed.groups,
            "memory_bytes": placed.memory_bytes,
            "processes": placed.processes,
            "container": str(placed.pipes),
            "first_process": placed.first_process,
            "services": placed.services,
            "disk": placed.disk,
        }
    return {
        "isolation": isolation.name,
        "sandbox": isolation.argv(workspace, secrets),
        "cgroups": isolation.limits.folders(group),
        "memory_bytes": isolation.limits.memory_bytes,
        "processes": isolation.limits.processes,
    }


def keeper_of(path: Path) -> int | None:
    """The pidfd of the keeper that watches over the attempt in this folder, once it has said who it is; None if none
    lives, nor can come to life any more. Blocks for as long as one may take to be born.

    Raises:
        TimeoutError: there is one, and it stands still. Should it ever go on, it finds no order, and ends.
    """
    until = time.monotonic() + BIRTH_S
    while held(path):
        keeper = _known_keeper(path)
        if keeper is not None:
            return keeper
        if time.monotonic() >= until:
            (path / files.ORDER).unlink(missing_ok=True)
            if (keeper := _known_keeper(path)) is None:
                raise TimeoutError("a process that was started does not come to life")
            return keeper
        time.sleep(BIRTH_LOOK_S)
    return None


def _known_keeper(path: Path) -> int | None:
    """A locked file means a living keeper, which holds its process id. The id is looked up before the lock is looked
    at again, so that it cannot have passed on to another process.
    """
    try:
        lock = os.open(path / files.LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        pidfd = None
        with contextlib.suppress(ValueError, ProcessLookupError):
            pidfd = os.pidfd_open(int(os.pread(lock, 32, 0)))
        if pidfd is not None and not _locked(lock):
            os.close(pidfd)
            return None
        return pidfd
    finally:
        os.close(lock)


def held(path: Path) -> bool:
    """Whether a keeper watches over the attempt in this folder, or may come to life and do so."""
    try:
        lock = os.open(path / files.LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _locked(lock)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def ended(attempt: AttemptId, status: files.Status) -> Ended | None:
    """A keeper's final word as an event; None while it is not final."""
    if status.outcome not in _OUTCOMES:
        return None
    return Ended(
        id=attempt,
        outcome=status.outcome,  # type: ignore[arg-type]  # it was looked up one line above
        reason=status.reason,
        exit_code=status.exit_code,
        started_after_ms=status.started_after_ms,
        finished_after_ms=status.finished_after_ms,
        log_bytes=status.log_bytes,
        steps=steps(status),
        isolation=status.isolation,
        outputs=tuple(JobOutput(**output._asdict()) for output in status.outputs[:OUTPUTS_MAX]),
        blameless=status.blameless,
    )


def steps(status: files.Status) -> tuple[StepReport, ...]:
    """A keeper's steps as they are reported."""
    known = (step for step in status.steps if step.state in _STEP_STATES)
    return tuple(_reported(step) for step in known)


def _reported(step: files.StepStatus) -> StepReport:
    remarks = tuple(Remark(**remark._asdict()) for remark in step.remarks)
    return StepReport(**step._asdict() | {"remarks": remarks})


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()
