"""The keeper's side of the sandbox: builds it when the first step needs it, lets steps in, and ends it.

What belongs here: starting bubblewrap, entering its namespaces, and giving up all rights in there. What does not: what
a sandbox shows and whether there can be one (`isolation`), and the steps' processes (`offspring`). Imports only what a
keeper may import.

One sandbox serves all steps of an attempt, so what a step leaves running is there for the next one. bubblewrap builds
it around a `cat` that waits for ever. A step is a process of ours that joins its namespaces, gives up all rights and
becomes the step's program: so it is our child, its end is seen as it was, and signals reach it. bubblewrap ends with
us, and when its first process ends the kernel ends all others in there, whatever they did to hide.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import time
from typing import Final

from surveil.execute.keeper import offspring

END_S: Final = 1.0
"""How long the end of all in there is waited for here; `offspring.kill_all` has more patience."""
READY_S: Final = 20.0
"""How long bubblewrap may take; it takes 10 ms on a machine that does nothing else."""
TROUBLE_BYTES_MAX: Final = 4096
PROGRAM_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin"
"""Where the `cat` in the sandbox is looked for; bubblewrap is told nothing else of our environment."""

_NAMESPACES: Final = 0x10000000 | 0x00020000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000
"""User, mount, process ids, IPC, host name, control groups: the CLONE_NEW* of what bubblewrap is asked for."""
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_MAX: Final = 64

_libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """The sandbox cannot be built; the sentence is bubblewrap's own, or ours."""


class Enclosure:
    """The sandbox of one attempt. `argv` is bubblewrap's whole command line but for its last words.

    `processes` limits how many there are in it, also where there are no control groups; the kernel counts them for
    each namespace of users, but never those of root. 0 means no limit.
    """

    def __init__(self, argv: list[str], processes: int = 0) -> None:
        self._argv = argv
        self._processes = processes
        self._first: int | None = None
        """The pidfd of its first process."""
        self._builder: int | None = None
        """The pidfd of bubblewrap itself, our child, which ends after all in there."""
        self._anchor: tuple[int, int] | None = None
        """What the `cat` in there reads and writes; it ends when we let go of this."""

    def ready(self) -> offspring.Enter:
        """The way in, for `offspring.start`; builds the sandbox unless it stands. Raises SandboxError."""
        if self._first is None or select.select([self._first], [], [], 0)[0]:
            self.end()
            self._build()
        first = self._first
        assert first is not None, "it was built"
        return lambda report: _enter(first, report, self._processes)

    def end(self) -> None:
        """End everything in there, and wait for that; what is left to be reaped is our child."""
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            if self._builder is not None:
                select.select([self._builder], [], [], END_S)
        for descriptor in (self._first, self._builder, *(self._anchor or ())):
            if descriptor is not None:
                os.close(descriptor)
        self._first = self._builder = self._anchor = None

    def _build(self) -> None:
        told, tell = os.pipe2(os.O_CLOEXEC)
        read, ask = os.pipe2(os.O_CLOEXEC)
        answer, write = os.pipe2(os.O_CLOEXEC)
        self._anchor = (ask, answer)
        try:
            self._builder = os.pidfd_open(_start_bubblewrap(self._argv, read, write, tell))
        except OSError as error:
            raise SandboxError(f"{self._argv[0]}: {error.strerror}") from error
        finally:
            for descriptor in (read, write, tell):
                os.close(descriptor)
        try:
            # The `cat` comes last of all, so its answer says that everything stands.
            with contextlib.suppress(BrokenPipeError):
                os.write(ask, b"\n")
            until = time.monotonic() + READY_S
            said = _read(answer, until)
            if said != b"\n":
                raise SandboxError(_whole(answer, said, until))
            self._first = os.pidfd_open(int(json.loads(_whole_of(told, until))["child-pid"]))
        except (OSError, ValueError, KeyError) as error:
            raise SandboxError(f"bubblewrap does not say which process it started: {error}") from error
        finally:
            os.close(told)


def _start_bubblewrap(argv: list[str], read: int, write: int, tell: int) -> int:
    """Start it with these as its input, its outputs and what it tells about itself; return its process id.

    Raises OSError.
    """
    trouble, report = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(read, 0)
            os.dup2(write, 1)
            os.dup2(write, 2)
            os.set_inheritable(tell, True)
            offspring.reset_signals()
            os.execve(argv[0], [*argv, "--info-fd", str(tell), "--", "cat"], {"PATH": PROGRAM_PATH})  # noqa: S606  # no shell
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(report)
    try:
        problem = os.read(trouble, 16)
    finally:
        os.close(trouble)
    if problem:
        os.waitpid(pid, 0)
        raise OSError(int(problem), os.strerror(int(problem)))
    return pid


def _read(descriptor: int, until: float) -> bytes:
    """What comes next; nothing at its end. Raises SandboxError when it takes too long."""
    if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
        raise SandboxError(f"it does not stand after {READY_S:.0f} s")
    return os.read(descriptor, TROUBLE_BYTES_MAX)


def _whole_of(descriptor: int, until: float) -> bytes:
    """All that comes, up to a limit."""
    found = b""
    while len(found) < TROUBLE_BYTES_MAX and (data := _read(descriptor, until)):
        found += data
    return found


def _whole(answer: int, said: bytes, until: float) -> str:
    words = (said + (_whole_of(answer, until) if said else b"")).decode(errors="replace").split("\n")
    return "; ".join(word.strip() for word in words if word.strip()) or "bubblewrap ended without a word"


def _enter(first: int, report: int, processes: int) -> None:
    """Go on as a process in the sandbox that may do nothing special, and tell `report` its process id.

    Namespaces of process ids are entered by children only, so the process that calls this ends in here. Raises OSError.
    """
    if _libc.setns(first, _NAMESPACES):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    pid = os.fork()
    if pid:
        os.write(report, f"pid {pid}\n".encode())
        os._exit(0)
    os.setsid()
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    # Whoever joins a namespace of users may do everything in it. Without bounding set and with no way to gain
    # anything, nothing of that is left after the program has been loaded.
    for capability in range(_CAPABILITIES_MAX):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
