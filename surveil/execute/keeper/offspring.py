"""Starting the processes of a step, and ending all that came of them, however they tried to hide.

What belongs here: fork, exec, signals and the process tree below this process. What does not: what a step is, its
output and its time (`keeper`). Linux only. Imports only what a keeper may import.

This process is a *child subreaper*: whatever a step leaves behind, double-forked and in a session of its own,
becomes our child when its parent ends. So the tree below us is complete, and an end of it can be seen.
"""

# ruff: noqa: PTH123, PTH208  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn, TypeAlias

AGENT_OOM_SCORE: Final = -250
STEP_OOM_SCORE: Final = 500
"""When memory runs out, the kernel takes a step before a keeper and a keeper before an agent."""
FILES_MAX: Final = 524_288
"""So many files one process of a step may open, as systemd lets its services. Where there is no bound at all, programs
that close whatever they might have inherited are at it for minutes.
"""
FILE_BYTES_MAX: Final = 1 << 40
"""So large one file of a step may become. No build makes such files; what has lost its mind does."""
GLANCES: Final = 50
SIGNALLED: Final = 128
"""What shells add to a signal's number to make an exit code of it."""
ROUNDS_MAX: Final = 200
ROUND_S_MIN: Final = 0.001
ROUND_S_MAX: Final = 0.05
"""A killed process takes a moment to be gone. All rounds together bound the wait for processes that cannot die."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl

Enter: TypeAlias = Callable[[int], None]
"""Brings the calling process into a sandbox. Where only a child of it can be in there, that child returns, and `pid N`
is written to the descriptor that is given.
"""


class Exit(NamedTuple):
    """How a process ended: with a code, or by a signal (then `code` is 128 and more, as shells say it)."""

    code: int
    signal: int


def become_keeper() -> None:
    """Take a session of our own, become the parent of orphans, and be no target for the debugger of a job.

    The agent's own outputs are let go: whoever reads them to their end waits for the agent, not for us.
    """
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    adopt_orphans()
    be_private()


def adopt_orphans() -> None:
    """Become the parent of whatever is left below us when its own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def be_private() -> None:
    """Let no other process of our user look into this one, and let it leave no image of its memory behind."""
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Surroundings(NamedTuple):
    """Where a program is to run, as functions that bring a process there. Both may raise OSError."""

    confine: Callable[[], None] | None = None
    """Brings the calling process, and all that comes of it, under the attempt's limits."""
    enter: Enter | None = None


def start(argv: list[str], env: dict[str, str], cwd: str, output: int, place: Surroundings) -> int:
    """Start a program with `output` as both of its outputs and nothing to read; return its process id.

    It leads a session and process group of its own, and dies with us, or with the sandbox that it is in. Raises OSError
    when it cannot be started.
    """
    trouble, report = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, env, cwd, output, parent=parent, report=report, place=place)
    os.close(report)
    with open(trouble, encoding="ascii") as told:
        lines = [line.split() for line in told]
    step: int | None = pid
    if place.enter is not None:
        # It only made way for the step's own process, which is our child since it has ended.
        os.waitpid(pid, 0)
        step = next((int(number) for word, number in lines if word == "pid"), None)
    number, what = next(((int(number), word) for word, number in lines if word != "pid"), (errno.EIO, "sandbox"))
    if step is not None and all(word == "pid" for word, _ in lines):
        return step
    if step is not None:
        os.waitpid(step, 0)
    raise OSError(
        number, os.strerror(number), {"cwd": cwd, "sandbox": "the sandbox", "limits": "its limits"}.get(what, argv[0])
    )


def _become(
    argv: list[str], env: dict[str, str], cwd: str, output: int, *, parent: int, report: int, place: Surroundings
) -> NoReturn:
    """The first and last thing that the new process does as a copy of ours."""
    what = "start"
    try:
        os.setsid()
        end_with(parent)
        reset_signals()
        _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # Our own oom_score_adj can be written only by a dumpable process.
        raise_oom_score(STEP_OOM_SCORE)
        bound_itself()
        os.umask(0o022)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if place.confine is not None:
            what = "limits"
            place.confine()
        if place.enter is not None:
            what = "sandbox"
            # Until it is another program it is a copy of us, and nobody in there may look into it.
            be_private()
            place.enter(report)
        what = "cwd"
        os.chdir(cwd)
        what = "start"
        os.closerange(3, report)
        os.execvpe(argv[0], argv, env)  # noqa: S606  # There is no shell in between; the step names its own.
    except OSError as error:
        os.write(report, f"{what} {error.errno or errno.EIO}\n".encode())
    finally:
        os._exit(127)


def end_with(parent: int) -> None:
    """Let this process be killed when its parent ends; it ends at once where that has happened."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)  # It died before we asked to die with it, and nobody would ever end us.


def bound_itself() -> None:
    """Bound what this process may have, in a way that it cannot take back: no images of memory, which may hold what is
    secret, and not more or larger files than any build needs. Memory and processes are bounded by control groups.
    """
    for what, most in (
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, FILES_MAX), (resource.RLIMIT_FSIZE, FILE_BYTES_MAX),
    ):  # fmt: skip
        soft, hard = (most if each == resource.RLIM_INFINITY else min(each, most) for each in resource.getrlimit(what))
        resource.setrlimit(what, (soft, hard))


def reset_signals() -> None:
    """Let signals be what a new program expects of them.

    What was ignored stays so in a new program, and terminals and `nohup` let their children ignore this and that.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def raise_oom_score(score: int) -> None:
    """Ask the kernel to take this process earlier when memory runs out; never fails."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < score:
            file.seek(0)
            file.write(str(score))


def be_spared() -> None:
    """Ask the kernel to take this process, and all that it will start, later when memory runs out; only root may."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) == 0:
            file.seek(0)
            file.write(str(AGENT_OOM_SCORE))


def reap() -> dict[int, Exit]:
    """Collect every child that has ended, ours and adopted ones."""
    ended: dict[int, Exit] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        ended[pid] = Exit(code=SIGNALLED + number if number else os.WEXITSTATUS(status), signal=number)


def descendants() -> list[int]:
    """The process ids of everything below us, zombies left out."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{entry}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents[int(entry)] = int(parent)
    found = {os.getpid()}
    grew = True
    while grew:
        new = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= new
        grew = bool(new)
    return sorted(found - {os.getpid()})


def signal_group(pid: int, number: int) -> None:
    """Signal the process group of a step; that it is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def has_children() -> bool:
    """Whether anything is left below us; as we are the parent of all orphans, no child means no descendant either."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def group_lives(pid: int) -> bool:
    """Whether the process group of a step has members left."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_all() -> dict[int, Exit]:
    """Kill everything below us and wait until it is gone, in bounded time; return how the children ended.

    Each round first stops what it finds, so that a storm of forks comes to rest before it is killed. A chain of
    processes that each fork once and end is gone before the whole tree was looked at; but each of its links becomes our
    own child for a moment, and to look for those alone is fast enough to catch one.
    """
    ended = reap()
    wait_s = ROUND_S_MIN
    for _ in range(ROUNDS_MAX):
        if not has_children():
            break
        found = descendants()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            _signal_each(found, number)
        for _ in range(GLANCES):
            children = _children()
            if not children:
                break
            _signal_each(children, signal.SIGKILL)
            ended |= reap()
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, ROUND_S_MAX)
        ended |= reap()
    return ended


def _children() -> list[int]:
    """Our own children, as fast as it can be known; none where the kernel does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _signal_each(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
