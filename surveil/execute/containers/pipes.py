"""What every container of an attempt has: a driver, the folder of pipes in which it is spoken to, and control groups.

What belongs here: making that folder, and what an engine's answer means. What does not: which containers there are
(`container`, `services`), and what is said through the pipes (`keeper.contained`).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute.isolation import cgroups
from surveil.execute.keeper.contained import ANSWERS, DRIVER, ORDERS, SCRIPT
from surveil.execute.workspace import remove

PIPES: Final = "pipes"
"""The folder of an attempt's folder in which keeper and container talk."""


def driven(inside: str) -> list[str]:
    """The first process of a container that sees the folder of pipes under this path."""
    return ["/bin/sh", f"{inside}/{DRIVER}", inside]


def make_pipes(pipes: Path) -> Path:
    """The folder in which keeper and driver talk, made anew. Raises InfrastructureError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            remove(pipes)
        pipes.mkdir(mode=0o755)
        for name in (ORDERS, ANSWERS):
            os.mkfifo(pipes / name)
            (pipes / name).chmod(0o666)
        (pipes / DRIVER).write_text(SCRIPT, encoding="ascii")
        (pipes / DRIVER).chmod(0o644)
        pipes.chmod(0o755)
    except OSError as error:
        raise InfrastructureError(f"no folder could be made for the job's container: {error}") from error
    return pipes


def group_facts(first: int) -> tuple[int, list[str]]:
    """The first process of a container and its control groups, as far as they can be seen from here."""
    groups = cgroups.groups_of(first) if first else []
    # Where the engine counts processes of its own, the number is somebody else's here.
    return (first if groups else 0), groups
