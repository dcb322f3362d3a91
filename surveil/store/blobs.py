"""Blobs: bytes under the name of their SHA-256, whole or not at all.

What belongs here: the promise of a place for blobs, and the folder that keeps it. What does not: blobs on their way
here (`incoming`), and which blobs are in use (`shelf`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from surveil.disk import make_folder, sync_folder
from surveil.store.failures import disk_failures

READ_BYTES_MAX: Final = 1024 * 1024
ROOM_MIB_MIN: Final = 500
ROOM_PERCENT_MIN: Final = 5
"""Of the disk, so much stays free for builds and logs, without which nothing goes on."""
NO_ROOM: Final = "the dispatcher's disk is nearly full"
FOLDER_DIGITS: Final = 2
"""So many digits of the name are a folder's, so that none has too many entries."""


class Blobs(Protocol):
    """Where whole blobs are. Every method blocks, and raises StoreError where the place does not do its part."""

    def take(self, path: Path, digest: str) -> None:
        """Keep a file, whole and with this digest, under it; durably once this returns. The file is gone then."""

    def size(self, digest: str) -> int | None:
        """How long the blob is; None where there is none."""

    def read(self, digest: str, at: int, count: int) -> bytes:
        """At most `count` (and `READ_BYTES_MAX`) bytes from `at` on; none behind its end, or where there is none."""

    def touch(self, digest: str) -> None:
        """Make its age count from now."""

    def since(self, digest: str) -> int:
        """The second since 1970 at which it was last taken or touched here; 0 where this machine does not know."""

    def doubt(self, digest: str) -> bool:
        """Read all that this machine has of it, and keep that no longer if it is not what it is called; whether it was
        sound.
        """

    def remove(self, digest: str) -> None:
        """Keep it no longer; that it is not there is fine."""

    def all(self) -> Iterator[tuple[str, int]]:
        """Every blob, with the second since 1970 from which its age counts."""


def has_room(folder: Path, size: int) -> bool:
    """Whether so many bytes may be kept on the disk of this folder."""
    disk = shutil.disk_usage(folder)
    return disk.free - size >= max(ROOM_MIB_MIN * 1024**2, disk.total * ROOM_PERCENT_MIN // 100)


class FolderBlobs:
    """Blobs as files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def take(self, path: Path, digest: str) -> None:
        """Rename it; it is on the platter already."""
        with disk_failures("keep a file"):
            target = self.path(digest)
            make_folder(target.parent)
            path.replace(target)
            target.touch()
            sync_folder(target.parent)

    def size(self, digest: str) -> int | None:
        """The file's size."""
        with disk_failures("look for a file"):
            try:
                return self.path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, digest: str, at: int, count: int) -> bytes:
        """Read a piece of the file."""
        with disk_failures("read a file"):
            try:
                handle = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            try:
                return os.pread(handle, min(count, READ_BYTES_MAX), at)
            finally:
                os.close(handle)

    def touch(self, digest: str) -> None:
        """By the file's own time."""
        with disk_failures("keep a file"), contextlib.suppress(FileNotFoundError):
            os.utime(self.path(digest))

    def since(self, digest: str) -> int:
        """The file's own time."""
        with disk_failures("look for a file"):
            try:
                return int(self.path(digest).stat().st_mtime)
            except FileNotFoundError:
                return 0

    def doubt(self, digest: str) -> bool:
        """Read the file."""
        with disk_failures("read a file"):
            try:
                with self.path(digest).open("rb") as file:
                    sound = hashlib.file_digest(file, "sha256").hexdigest() == digest
            except FileNotFoundError:
                return False
        if not sound:
            self.remove(digest)
        return sound

    def remove(self, digest: str) -> None:
        """Unlink it."""
        with disk_failures("delete a file"):
            self.path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, int]]:
        """Walk through the folders."""
        with disk_failures("look through what is kept"):
            for folder in sorted(self._root.glob("[0-9a-f]" * FOLDER_DIGITS)):
                for path in sorted(folder.iterdir()):
                    with contextlib.suppress(FileNotFoundError):
                        yield folder.name + path.name, int(path.stat().st_mtime)

    def path(self, digest: str) -> Path:
        """Where it is, or would be."""
        return self._root / digest[:FOLDER_DIGITS] / digest[FOLDER_DIGITS:]
