"""The keeper's side of limits: a control group for each attempt, by which its memory and its processes are bounded.

What belongs here: making, joining, emptying and removing such groups, and what they tell. What does not: where they may
be made (`isolation.cgroups`), and what the limits are. Imports only what a keeper may import.

Both versions of control groups are spoken, by the files that a new group has: version 1 has a tree for each controller
and so a group in each, version 2 one for all.
"""

# ruff: noqa: PTH103, PTH106, PTH110, PTH118, PTH123  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

PROCS: Final = "cgroup.procs"
KILL: Final = "cgroup.kill"
ROUNDS_MAX: Final = 100
ROUND_S: Final = 0.01
MEMORY: Final = ("memory.max", "memory.limit_in_bytes")
SWAP: Final = (("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", ""))
"""Memory that is swapped out counts as well: version 1 limits the sum, version 2 the swap alone."""
PROCESSES: Final = "pids.max"
_KILLS: Final = (("memory.events", b"oom_kill"), ("memory.oom_control", b"oom_kill"))
_REFUSALS: Final = (("pids.events", b"max"),)


class Confines:
    """The control groups of one attempt, one folder each. 0 means no limit."""

    def __init__(self, folders: list[str], memory_bytes: int = 0, processes: int = 0) -> None:
        self._folders = folders
        self.memory_bytes = memory_bytes
        self.processes = processes
        self._seen = (0, 0)

    def make(self) -> None:
        """Make the groups, and set their limits. Raises OSError."""
        for folder in self._folders:
            os.makedirs(folder, mode=0o755, exist_ok=True)
            if self.memory_bytes:
                _set_first(folder, MEMORY, str(self.memory_bytes))
                for name, value in SWAP:
                    with contextlib.suppress(OSError):  # A kernel need not count swap.
                        _write(os.path.join(folder, name), value or str(self.memory_bytes))
            if self.processes and os.path.exists(os.path.join(folder, PROCESSES)):
                _write(os.path.join(folder, PROCESSES), str(self.processes))

    def join(self) -> None:
        """Bring the calling process into the groups, and all that comes of it. Raises OSError."""
        for folder in self._folders:
            _write(os.path.join(folder, PROCS), "0")

    def news(self) -> str:
        """What limit was met since the last time, as a clause; empty if none was."""
        now = (self._count(_KILLS), self._count(_REFUSALS))
        kills, refusals = (new - old for new, old in zip(now, self._seen, strict=True))
        self._seen = now
        if kills > 0:  # A container that is gone took its counts with it.
            return f"it went over its memory limit of {size_words(self.memory_bytes)}"
        return f"it went over its limit of {self.processes} processes" if refusals > 0 else ""

    def _count(self, names: tuple[tuple[str, bytes], ...]) -> int:
        total = 0
        for folder in self._folders:
            for name, key in names:
                with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as file:
                    fields = dict(line.split()[:2] for line in file.read().splitlines())
                    total += int(fields.get(key, 0))
        return total

    def remove(self) -> None:
        """Kill what is left in the groups, and remove them; what cannot be removed stays, empty and harmless."""
        for folder in self._folders:
            _empty(folder)


def _empty(folder: str) -> None:
    for _ in range(ROUNDS_MAX):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            _kill(folder)
            time.sleep(ROUND_S)
        else:
            return


def _kill(folder: str) -> None:
    with contextlib.suppress(OSError):
        _write(os.path.join(folder, KILL), "1")
        return
    with contextlib.suppress(OSError), open(os.path.join(folder, PROCS), "rb") as file:
        for pid in file.read().split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


def _set_first(folder: str, names: tuple[str, ...], value: str) -> None:
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            _write(path, value)


def _write(path: str, value: str) -> None:
    """Write in one go to a file that is there, as the kernel wants it."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def size_words(count: int) -> str:
    """A number of bytes as people write it."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"
