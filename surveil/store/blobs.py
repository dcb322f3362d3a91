"""Blobs: bytes under the name of their SHA-256, whole or not at all.

What belongs here: the promise of a place for blobs, and the folder that keeps it. What does not: blobs on their way
here (`incoming`), and which blobs are in use (`shelf`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from surveil.disk import make_folder, sync_folder
from surveil.store.failures import disk_failures

READ_BYTES_MAX: Final = 1024 * 1024
_SHARD: Final = 2
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

    def remove(self, digest: str) -> None:
        """Keep it no longer; that it is not there is fine."""

    def all(self) -> Iterator[tuple[str, int]]:
        """Every blob, with the second since 1970 from which its age counts."""


class FolderBlobs:
    """Blobs as files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def take(self, path: Path, digest: str) -> None:
        """Rename it; it is on the platter already."""
        with disk_failures("keep a file"):
            target = self._path(digest)
            make_folder(target.parent)
            path.replace(target)
            target.touch()
            sync_folder(target.parent)

    def size(self, digest: str) -> int | None:
        """The file's size."""
        with disk_failures("look for a file"):
            try:
                return self._path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, digest: str, at: int, count: int) -> bytes:
        """Read a piece of the file."""
        with disk_failures("read a file"):
            try:
                handle = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            try:
                return os.pread(handle, min(count, READ_BYTES_MAX), at)
            finally:
                os.close(handle)

    def touch(self, digest: str) -> None:
        """By the file's own time."""
        with disk_failures("keep a file"), contextlib.suppress(FileNotFoundError):
            os.utime(self._path(digest))

    def remove(self, digest: str) -> None:
        """Unlink it."""
        with disk_failures("delete a file"):
            self._path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, int]]:
        """Walk through the folders."""
        with disk_failures("look through what is kept"):
            for shard in sorted(self._root.glob("[0-9a-f]" * _SHARD)):
                for path in sorted(shard.iterdir()):
                    with contextlib.suppress(FileNotFoundError):
                        yield shard.name + path.name, int(path.stat().st_mtime)

    def _path(self, digest: str) -> Path:
        return self._root / digest[:_SHARD] / digest[_SHARD:]
