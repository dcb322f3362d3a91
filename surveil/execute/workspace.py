"""The folders of one attempt: a work tree, a home and a folder for temporary files of its own, and its scripts.

What belongs here: making them, filling the work tree, and deleting all of it whatever a job left there. What does
not: git (`mirror`), and when this is done (`process`).
"""

# ruff: noqa: PTH101  # Names are resolved in folders held open, which pathlib cannot do.

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Final, NamedTuple

from surveil import shards
from surveil.errors import InfrastructureError
from surveil.execute.transfer.supply import Supply, get_commit
from surveil.frozen import dataclass
from surveil.mirror import address
from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.command import Halt
from surveil.mirror.mirror import Mirror
from surveil.mirror.spare import Spares
from surveil.protocol import Assign, JobSpec

SHARDS_CLIENT: Final = "surveil_shards.py"
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where the folders of an attempt are; `work` may lie elsewhere when a person's own tree is used."""

    root: Path
    work: Path

    @classmethod
    def below(cls, root: Path) -> Workspace:
        """A workspace whose work tree is its own."""
        return cls(root=root, work=root / "work")

    @property
    def home(self) -> Path:
        """The private HOME."""
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        """The private TMPDIR."""
        return self.root / "tmp"

    @property
    def common_tmp(self) -> Path:
        """What `/tmp` is in a sandbox, for programs that do not ask for TMPDIR."""
        return self.root / "common-tmp"

    @property
    def shards(self) -> Path:
        """The folder in which a shard asks for its part."""
        return self.root / "shards"

    @property
    def outputs(self) -> Path:
        """The file to which steps write what the job puts out."""
        return self.root / "outputs"

    def script(self, index: int) -> Path:
        """The file that holds the script of a step."""
        return self.root / "steps" / str(index)

    def make(self, spec: JobSpec) -> None:
        """Make all folders but the work tree, and write the scripts; they are files, as an argument has a limit.

        Raises OSError.
        """
        for folder in (self.home, self.tmp, self.common_tmp, self.root / "steps"):
            folder.mkdir(mode=0o700, parents=True)
        if spec.shards:
            self.shards.mkdir(mode=0o700)
            shutil.copyfile(shards.__file__, self.shards / SHARDS_CLIENT)
        for index, step in enumerate(spec.steps):
            self.script(index).write_text(step.run, encoding="utf-8", errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a commit's files come from: the folder of mirrors, trees made ahead, and what brings a commit that cannot
    be fetched. `halt` ends it, and `access` opens private repositories.
    """

    mirrors: Path
    spares: Spares
    halt: Halt | None = None
    supply: Supply | None = None
    access: Access = NO_ACCESS


def prepare(workspace: Workspace, source: Source, assign: Assign) -> None:
    """Make the workspace of an attempt, with the files of its commit. Blocks; what it leaves is the caller's to remove.

    Raises:
        InfrastructureError: the commit cannot be had, or the disk does not take it (MirrorError is one).
    """
    remove(workspace.root)
    try:
        workspace.make(assign.spec)
        mirror = Mirror(source.mirrors, address.parse(assign.repo, "/"), source.halt, source.access)
        get_commit(mirror, assign, source.supply)
        workspace.work.mkdir(mode=0o755)
        source.spares.checkout(mirror, assign.sha, workspace.work, assign.ref)
    except OSError as error:
        raise InfrastructureError(f"the runner could not make a workspace: {error}") from error


def remove(root: Path) -> None:
    """Delete a folder and all below it; that it is not there is fine.

    Nothing outside is ever touched: no symbolic link is followed, and every name is resolved in a folder that is
    held open. Folders that may not be written are made writable; however deep they are nested, they are brought to
    the top one by one, so that neither names nor descriptors nor the stack grow with the depth.

    Raises:
        InfrastructureError: something cannot be deleted, say a mount or another user's file.
    """
    try:
        if not root.is_symlink() and not root.exists():
            return
        with contextlib.suppress(OSError):
            shutil.rmtree(root)  # The ordinary case, in the fastest way that follows no link.
            return
    except RecursionError:
        pass
    try:
        _remove_stubborn(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InfrastructureError(f"{root} cannot be deleted: {error}") from error


def _remove_stubborn(root: Path) -> None:
    """Walk down and up again with one folder open at a time; `..` is believed only if it is the folder we came from."""
    if not stat.S_ISDIR(root.lstat().st_mode):
        root.unlink()
        return
    here = _open_writable(None, str(root))
    try:
        levels = [_Level(name=root.name, identity=_identity(here), folders=_empty(here))]
        while True:
            if levels[-1].folders:
                name = levels[-1].folders.pop()
                here = _move(here, _open_writable(here, name))
                levels.append(_Level(name=name, identity=_identity(here), folders=_empty(here)))
                continue
            done = levels.pop()
            if not levels:
                break
            here = _move(here, os.open("..", _OPEN_FOLDER, dir_fd=here))
            if _identity(here) != levels[-1].identity:
                raise OSError(errno.ESTALE, "somebody moved it while it was being deleted", done.name)
            os.rmdir(done.name, dir_fd=here)
    finally:
        os.close(here)
    root.rmdir()


class _Level(NamedTuple):
    """A folder on the way down, and those in it that are still to be deleted."""

    name: str
    identity: tuple[int, int]
    folders: list[str]


def _move(old: int, new: int) -> int:
    os.close(old)
    return new


def _identity(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino


def _empty(folder: int) -> list[str]:
    """Delete all but the folders in a folder, and return the names of those."""
    folders = []
    for name in os.listdir(folder):
        if _is_folder(folder, name):
            folders.append(name)
        else:
            os.unlink(name, dir_fd=folder)
    return folders


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


def _open_writable(parent: int | None, name: str) -> int:
    """Open a folder, after giving its owner all rights to it."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
    return os.open(name, _OPEN_FOLDER, dir_fd=parent)
