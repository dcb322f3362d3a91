"""Packing files into an archive: a plain tar of regular files, folders and links between these, with nothing in it that
another machine could not have.

What belongs here: what stands in an archive. What does not: which files (`finding`), and taking one apart, which
trusts nobody (`unpacking`).

Nothing is compressed: archives go over lines and disks that are faster than that, and what is worth it is compressed
by its own format. Owners and special bits stay behind.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

from surveil.execute.archives.beneath import Beneath
from surveil.frozen import dataclass

BLOCK_BYTES: Final = 1024 * 1024
LARGE_BYTES: Final = 128 * 1024
"""For less than that, handing it to another thread costs more than hashing it."""
PLAIN: Final = 0o644
RUNS: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An archive: how long it is, and the SHA-256 of its bytes."""

    size: int
    digest: str
    files: int


class _Out:
    """An archive that is written from its beginning, and the digest of all that was. What is large is added to the
    digest beside the writing: hashing takes as long as the rest.
    """

    def __init__(self, file: IO[bytes], beside: Executor) -> None:
        self._file = file
        self._beside = beside
        self._adding: Future[None] | None = None
        self._sum = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Write all of it."""
        self._wait()
        if len(data) >= LARGE_BYTES:
            self._adding = self._beside.submit(self._sum.update, data)
        else:
            self._sum.update(data)
        self._file.write(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        """The digest of what was written."""
        self._wait()
        return self._sum.hexdigest()

    def _wait(self) -> None:
        if self._adding is not None:
            self._adding.result()
            self._adding = None

    def head(self, entry: tarfile.TarInfo) -> None:
        """Write what stands before a file's bytes, or in the place of a folder."""
        self.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def fill(self) -> None:
        """Write on to the end of the block."""
        self.write(bytes(-self.size % tarfile.BLOCKSIZE))


def pack(
    root: Path,
    files: Sequence[str],
    folders: Sequence[str],
    out: IO[bytes],
    check: Callable[[], None] = lambda: None,
    *,
    links: Sequence[tuple[str, str]] = (),
) -> Packed:
    """Write an archive of these paths below `root`, and of `links` with their targets. Blocks; `check` is called
    between files, and may raise.

    Raises:
        OSError: a file cannot be read, is no file any more, or `out` does not take it.
    """
    with Beneath(root) as beneath, ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
        archive = _Out(out, beside)
        for path in folders:
            check()
            archive.head(_folder(path))
        for path in files:
            check()
            handle = beneath.read(path.split("/"))
            try:
                _add(archive, path, handle)
            finally:
                os.close(handle)
        for path, target in links:
            archive.head(_link(path, target))
        archive.write(bytes(2 * tarfile.BLOCKSIZE))
        return Packed(size=archive.size, digest=archive.hexdigest(), files=len(files))


def _add(archive: _Out, path: str, handle: int) -> None:
    entry = _file(path, os.fstat(handle))
    archive.head(entry)
    left = entry.size
    while left:
        data = os.read(handle, min(left, BLOCK_BYTES))
        if not data:
            raise OSError(f"{path} became shorter while it was read")
        archive.write(data)
        left -= len(data)
    archive.fill()


def _folder(path: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, RUNS
    return entry


def _link(path: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def _file(path: str, status: os.stat_result) -> tarfile.TarInfo:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no file any more")
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime = status.st_size, int(status.st_mtime)
    entry.mode = RUNS if status.st_mode & stat.S_IXUSR else PLAIN
    return entry
