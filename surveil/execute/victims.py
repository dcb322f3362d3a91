"""The processes of this installation on this machine that a drill ends or stops: found by the data folder that they
hold, and by nothing else.

What belongs here: finding one, killing a runner with one attempt of it, starting it again, and stopping a process for a
while. What does not: asking for consent, and what is looked at afterwards (`surveil.cli`).

Nothing is looked for by name, and no lock is taken: a process counts as the holder of a folder if the folder's lock
names it, it has that file open, and it is of the same user as we are. It is signalled through a descriptor of its own,
so that no other process can come in its place.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

from surveil.core.model import AttemptId
from surveil.errors import InfrastructureError, NotFoundError
from surveil.execute import processes
from surveil.execute.attempts import folder_name, keeper_of
from surveil.frozen import dataclass
from surveil.places import ATTEMPTS, LOCK, WORKSPACES

DRILL_LOG: Final = "drill.log"
"""In a runner's data folder: what a runner says that was started again by a drill."""

_STOPPED: Final = """
import signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
victim, seconds = int(sys.argv[1]), float(sys.argv[2])
try:
    signal.pidfd_send_signal(victim, signal.SIGSTOP)
    time.sleep(seconds)
finally:
    signal.pidfd_send_signal(victim, signal.SIGCONT)
"""
"""A process of its own lets the stopped one go on, also if the drill itself is killed meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """The process that holds a data folder, and how it was started."""

    folder: Path
    pid: int
    argv: tuple[str, ...]
    cwd: Path
    environment: dict[str, str]

    @property
    def command(self) -> str:
        """What to type to start it again."""
        return f"cd {shlex.quote(str(self.cwd))} && {shlex.join(self.argv)}"


def holder(folder: Path, who: str) -> int | None:
    """The process of ours that holds this folder as `who` ("a runner"); None if there is none."""
    lock = folder / LOCK
    try:
        pid_text, _, name = lock.read_text("ascii", "replace").strip().partition(" ")
        pid = int(pid_text)
        open_files = Path(f"/proc/{pid}/fd").iterdir()
        same = Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
        if name == who and same and any(_is(file, lock) for file in open_files):
            return pid
    except (OSError, ValueError):
        pass
    return None


def _is(descriptor: Path, file: Path) -> bool:
    with contextlib.suppress(OSError):
        return descriptor.samefile(file)
    return False


def find_victim(folder: Path, who: str) -> Victim:
    """The process that holds this folder.

    Raises:
        NotFoundError: none does, or it is somebody else's.
    """
    pid = holder(folder, who)
    try:
        if pid is not None:
            return Victim(
                folder=folder,
                pid=pid,
                argv=tuple(os.fsdecode(word) for word in _listed(pid, "cmdline")),
                cwd=Path(f"/proc/{pid}/cwd").readlink(),
                environment=dict(
                    entry.split("=", 1) for entry in map(os.fsdecode, _listed(pid, "environ")) if "=" in entry
                ),
            )
    except OSError:
        pass
    raise NotFoundError(
        f"No process of this user holds {folder} as {who}: type the command on the machine of what is to be ended, and "
        "as its user."
    )


def _listed(pid: int, file: str) -> list[bytes]:
    return Path(f"/proc/{pid}/{file}").read_bytes().rstrip(b"\0").split(b"\0")


def kill_runner(victim: Victim, attempt: AttemptId) -> None:
    """Kill a runner and everything of one attempt that it has, as if the machine had lost its power; its other attempts
    go on without it.

    Raises:
        InfrastructureError: it is not what it was, or may not be signalled; nothing was killed.
    """
    folder = victim.folder / ATTEMPTS / folder_name(attempt)
    with contextlib.ExitStack() as open_descriptors:
        agent = _descriptor(victim, "a runner", open_descriptors)
        try:
            keeper = keeper_of(folder)
        except (OSError, TimeoutError) as error:
            raise InfrastructureError(f"Nobody watches over the drill's job on this machine: {error}") from error
        if keeper is None:
            raise InfrastructureError("The drill's job ended before its runner could be killed; nothing was killed.")
        open_descriptors.callback(os.close, keeper)
        signal.pidfd_send_signal(agent, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(keeper, signal.SIGKILL)
        processes.kill_left_behind(victim.folder / WORKSPACES / folder_name(attempt))


def _descriptor(victim: Victim, who: str, open_descriptors: contextlib.ExitStack) -> int:
    """A descriptor of the victim, which still is the one that it was."""
    try:
        descriptor = os.pidfd_open(victim.pid)
    except OSError as error:
        _gone(victim, error)
    open_descriptors.callback(os.close, descriptor)
    if holder(victim.folder, who) != victim.pid:
        _gone(victim, None)
    return descriptor


def _gone(victim: Victim, cause: OSError | None) -> NoReturn:
    raise InfrastructureError(
        f"Process {victim.pid} does not hold {victim.folder} any more; nothing was ended."
    ) from cause


def start_again(victim: Victim) -> subprocess.Popen[bytes]:
    """Start a killed runner as it was started, apart from our terminal; returns its process. What it says goes to
    `DRILL_LOG` in its data folder.

    Raises:
        InfrastructureError: it could not be started.
    """
    try:
        with open(victim.folder / DRILL_LOG, "ab", opener=_privately) as log:  # no Path has an opener
            return subprocess.Popen(
                victim.argv, cwd=victim.cwd, env=victim.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise InfrastructureError(
            f"The runner could not be started again ({error}): type `{victim.command}`."
        ) from error


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def stop_for(victim: Victim, who: str, duration_ms: int) -> subprocess.Popen[bytes]:
    """Stop a process, and let it go on after `duration_ms` whatever becomes of us; ends when it goes on again.

    Raises:
        InfrastructureError: it is not what it was, or may not be signalled.
    """
    with contextlib.ExitStack() as open_descriptors:
        descriptor = _descriptor(victim, who, open_descriptors)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-c", _STOPPED, str(descriptor), str(duration_ms / 1000)],
                pass_fds=(descriptor,), stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise InfrastructureError(f"The dispatcher cannot be stopped: {error}") from error
