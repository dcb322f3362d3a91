"""The machine's processes, seen from outside: what an attempt left behind whose keeper is dead, and how busy we
are.

What belongs here: everything that needs psutil. What does not: the ordinary end of steps (`keeper.offspring`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import psutil

GONE_S: Final = 5.0
ROUNDS_MAX: Final = 20
_MIB: Final = 1024 * 1024


class Load(NamedTuple):
    """How the machine is doing."""

    disk_free_mib: int
    disk_total_mib: int
    load_percent: int


def measure(folder: Path) -> Load:
    """Look at the disk of `folder` and at the machine's load (the last minute's, 100 for all cores busy)."""
    disk = shutil.disk_usage(folder)
    cores = os.cpu_count() or 1
    return Load(
        disk_free_mib=disk.free // _MIB,
        disk_total_mib=disk.total // _MIB,
        load_percent=round(100 * os.getloadavg()[0] / cores),
    )


def kill_left_behind(root: Path) -> int:
    """Kill every process that has a folder below `root` in its environment, or works there; return how many.

    The last resort, for when a keeper was killed: its own way is certain, while a process may hide from this one by
    clearing its environment and leaving the folder.
    """
    killed = 0
    for _ in range(ROUNDS_MAX):
        found = [process for process in psutil.process_iter() if _belongs(process.pid, root)]
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed += 1
        psutil.wait_procs(found, timeout=GONE_S / ROUNDS_MAX)
    return killed


def _belongs(pid: int, root: Path) -> bool:
    if pid == os.getpid():
        return False
    try:
        if b"=" + os.fsencode(root) + b"/" in Path(f"/proc/{pid}/environ").read_bytes():
            return True
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return where == root or root in where.parents
