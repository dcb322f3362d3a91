"""Scratch folders: what a job that runs here and now needs of the disk, held by the process that runs it.

What belongs here: making such a folder, knowing whose process is no more, and removing all that this one left: its
processes, containers, control groups, secrets and files. What does not: what is in there (`local`, `cli.replay`).

The holder has a lock on a file in the folder, which the kernel opens when it ends, however that ends. The file gets its
name once it is locked, so whoever can lock one of that name has found a folder that is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute import attempts, processes
from surveil.execute.containers.container import Containers, chosen
from surveil.execute.isolation.cgroups import Limits
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.entrusted import folder_for
from surveil.execute.workspace import remove
from surveil.say import Voice

PREFIX: Final = "surveil-"
ATTEMPT: Final = "attempt"
"""The folder in there of the attempt, whose keeper may live a moment longer than the holder."""
_HELD: Final = "held"
_NEW: Final = "held.new"
_ENGINE: Final = "engine"

voice = Voice("execute")


@contextlib.contextmanager
def scratch(what: str = "") -> Iterator[Path]:
    """A folder that is this process's own, and gone afterwards. Raises InfrastructureError."""
    with contextlib.ExitStack() as held:
        try:
            root = Path(tempfile.mkdtemp(prefix=PREFIX + what))
            held.callback(remove, root)
            handle = os.open(root / _NEW, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
            (root / _NEW).rename(root / _HELD)
        except OSError as error:
            raise InfrastructureError(f"no folder could be made for the job: {error}") from error
        # What is not deleted yet is still held, so nobody else deletes it as well.
        yield root


def note_engine(root: Path, containers: Containers) -> None:
    """Containers of this folder's attempt may be there, at this engine. Raises InfrastructureError."""
    try:
        (root / _ENGINE).write_text(containers.address, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(f"no folder could be made for the job's container: {error}") from error


def sweep(limits: Limits) -> None:
    """Remove what processes left here that are no more. What cannot be removed now is said, and left to the next one
    who comes.
    """
    for root in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with contextlib.ExitStack() as opened:
            try:
                handle = _lock(root)
                if handle is None:
                    continue
                opened.callback(os.close, handle)
                if not attempts.held(root / ATTEMPT):  # Else its keeper is about to end it.
                    _remove_all(root, limits)
                    voice.warning("what a killed run left is removed", folder=str(root))
            except (OSError, InfrastructureError) as problem:
                voice.warning("what a killed run left is not removed yet", folder=str(root), reason=str(problem))


def _lock(root: Path) -> int | None:
    """The lock on a folder of ours that nobody holds any more; None for any other. Raises OSError."""
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return None
    try:
        handle = os.open(root / _HELD, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None  # It is being made; or it is nothing of this kind.
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _remove_all(root: Path, limits: Limits) -> None:
    """Remove the folder, last of all: it is what the others are found by. Raises OSError and InfrastructureError."""
    if (root / _ENGINE).exists():
        containers, why = chosen((root / _ENGINE).read_text(encoding="utf-8"))
        assert containers is not None, why  # An engine that is named is there, or an error.
        with contextlib.closing(containers):
            for name in containers.of(str(root)):
                containers.remove(name)
    processes.kill_left_behind(root)
    Confines(limits.folders(root.name)).remove()
    remove(Path(folder_for(root.name)))
    remove(root)
