"""Work trees made ahead: one for each of the mirrors used last, so that the next attempt's is a small change away.

What belongs here: making a spare tree while nobody waits, and giving it away once. What does not: what a work tree is
(`checkout`), and when there is time (`execute.upkeep`).

A spare is checked out by us and touched by nobody: it is moved out of here before an attempt hears of it, and never
comes back, so no attempt sees what another one left. It is used only if it is exactly as it was made, which costs a
look at each of its folders here and at each of its files by git; whatever else is found, or goes wrong, the tree is
made from nothing. What spares there are is known to this process alone, so those of an earlier one are never used,
however it ended.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surveil.frozen import dataclass
from surveil.mirror import checkout
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble

SPARES_MAX: Final = 4
"""Mirrors that have a spare tree at one time; those used longest ago lose theirs."""
FREE_DISK_MIN_PERCENT: Final = 10
"""With less room on the disk no spare is made, and what there is is given up."""
SETTLED_S: Final = 2.0
_ATTRIBUTES: Final = b".gitattributes"
_INDEX_VERSION_2: Final = b"DIRC\0\0\0\2"
_INDEX_HEAD_BYTES: Final = 12
_INDEX_STAT_BYTES: Final = 40
_INDEX_FLAG_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class _Spare:
    """A work tree as it was made. `folders` maps each of its folders to when a name in it last changed."""

    tree: Path
    folders: Mapping[str, int]
    attributes: Mapping[bytes, bytes] | None


class Spares:
    """The spare trees of one process, below the folder `root`. Threads may share it, processes not even the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._spares: dict[Path, _Spare] = {}
        """By mirror, the one used longest ago first."""
        self._making: dict[Path, threading.Event] = {}
        """What is set when the spare of a mirror is made, or will not be; taken away by whoever waits for it."""
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Remove what an earlier process left, before anything is made. Raises OSError."""
        if self._root.exists():
            shutil.rmtree(self._root)

    def checkout(self, mirror: Mirror, sha: str, destination: Path, ref: str = "") -> None:
        """Do what `checkout.checkout` does, in a fraction of the time if there is a spare.

        Raises MirrorError, and OSError where something is in the way of the spare.
        """
        with self._lock:
            spare, making = self._spares.pop(mirror.path, None), self._making.pop(mirror.path, None)
        if making is not None:
            # It has a lead on what we could begin now, and two at once would be slower for both.
            making.wait(checkout.CHECKOUT_TIMEOUT_S)
            with self._lock:
                spare = self._spares.pop(mirror.path, None)
        if spare is None or not _use(spare, mirror, sha, destination, ref):
            checkout.checkout(mirror, sha, destination, ref)

    def make(self, mirror: Mirror, sha: str) -> None:
        """Make a spare at commit `sha`, which the mirror holds, unless there is one. Raises MirrorError and OSError."""
        with self._lock:
            if mirror.path in self._spares:
                return
            made = self._making[mirror.path] = threading.Event()
        try:
            self._make(mirror, sha)
        finally:
            with self._lock:
                self._making.pop(mirror.path, None)
            made.set()

    def _make(self, mirror: Mirror, sha: str) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk = shutil.disk_usage(self._root)
        if disk.free * 100 < disk.total * FREE_DISK_MIN_PERCENT:
            self._keep(0)
            return
        tree = Path(tempfile.mkdtemp(dir=self._root), "work")
        try:
            tree.mkdir(mode=0o755)
            checkout.checkout(mirror, sha, tree)
            spare = _look_at(tree)
            # What comes after that look changes a folder; this finds what came before it.
            if not checkout.is_alone(mirror, tree):
                raise MirrorError(f"Somebody put a file into {tree} while it was made, so it is not used.")
        except (MirrorError, OSError):
            shutil.rmtree(tree.parent, ignore_errors=True)
            raise
        with self._lock:
            self._spares[mirror.path] = spare
        self._keep(SPARES_MAX)

    def _keep(self, count: int) -> None:
        """Give up all spares but the `count` made last."""
        with self._lock:
            surplus = [self._spares.pop(path) for path in list(self._spares)[: max(0, len(self._spares) - count)]]
        for spare in surplus:
            shutil.rmtree(spare.tree.parent)


def _use(spare: _Spare, mirror: Mirror, sha: str, destination: Path, ref: str) -> bool:
    """Move a spare to where it is wanted, and bring it to the commit; if that is not certain, leave nothing."""
    try:
        if _folders(spare.folders) == spare.folders:
            spare.tree.rename(destination)
            checkout.bring(mirror, sha, destination, ref)
            # Attributes say how files are written. Git writes only those that changed, so where the attributes did, a
            # file may stand there as the old ones wanted it.
            if spare.attributes is not None and _attributes(destination) == spare.attributes:
                return True
    except MirrorError as problem:
        if problem.trouble is Trouble.HALTED:
            raise
    except OSError:
        pass  # Somebody took the spare away, or the disk does; the way without it has sentences for that.
    finally:
        shutil.rmtree(spare.tree.parent, ignore_errors=True)
    if destination.exists():
        shutil.rmtree(destination)
        destination.mkdir(mode=0o755)
    return False


def _look_at(tree: Path) -> _Spare:
    # Git reads every file again that is as young as the index, as somebody may have changed it in the same second.
    # Nobody has, and nobody will before this second has passed.
    settled = time.time() + SETTLED_S
    os.utime(tree / ".git" / "index", (settled, settled))
    folders = [folder for folder, _, _ in os.walk(tree)]
    return _Spare(tree=tree, folders=_folders(folders), attributes=_attributes(tree))


def _folders(folders: Mapping[str, int] | list[str]) -> dict[str, int]:
    """When a name in each of these folders was last made, changed or removed. Raises OSError."""
    return {folder: os.lstat(folder).st_mtime_ns for folder in folders}


def _attributes(tree: Path) -> dict[bytes, bytes] | None:
    """The attribute files in a work tree's index, and what is in each; None if the index is of another kind.

    The form is git's "index format", version 2: a head, then for each file its stat, object name, flags, path, and
    one to eight zeros up to a multiple of eight bytes.
    """
    index = (tree / ".git" / "index").read_bytes()
    if not index.startswith(_INDEX_VERSION_2):
        return None
    if _ATTRIBUTES + b"\0" not in index:
        return {}
    object_bytes = len((tree / ".git" / "HEAD").read_text(encoding="ascii").strip()) // 2
    found = {}
    at = _INDEX_HEAD_BYTES
    for _ in range(int.from_bytes(index[8:_INDEX_HEAD_BYTES])):
        name_at = at + _INDEX_STAT_BYTES + object_bytes + _INDEX_FLAG_BYTES
        end = index.index(b"\0", name_at)
        name = index[name_at:end]
        if name.rpartition(b"/")[2] == _ATTRIBUTES:
            found[name] = index[at + _INDEX_STAT_BYTES : at + _INDEX_STAT_BYTES + object_bytes]
        at += (end - at) // 8 * 8 + 8
    return found
