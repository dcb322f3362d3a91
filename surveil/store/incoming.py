"""Blobs on their way here: written piece by piece, believed once all of it has the digest that it was announced by.

What belongs here: partial files, their resumption and their end. What does not: where whole blobs are (`blobs`), who
may bring one and who is answered (`hands.depot`).

What is acknowledged of a part is there unless the machine loses its power: until the blob is whole its runner has it,
and nothing depends on it. Whole is said after its digest was compared and it is on the platter. What a process left
unfinished is gone on with by the next one, which reads what is there once more.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections import OrderedDict
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from surveil.disk import make_folder
from surveil.errors import ProtocolError
from surveil.store.blobs import Blobs
from surveil.store.failures import disk_failures

OPEN_MAX: Final = 64
"""Partial files held open; the one that was idle longest is closed for the next."""
IDLE_MAX: Final = 4096
"""Partial files that are closed and known, so that nobody has to read again what is there."""
SYNC_BYTES: Final = 32 * 1024 * 1024
"""So much is written before it is put on the platter beside what comes next, so that the last bytes of a large blob do
not wait for all; twice as much is never on its way there."""
STALE_S: Final = 86_400
"""A part that nobody went on with for so long is deleted."""
PART: Final = ".part"
_READ_BYTES: Final = 1024 * 1024


class BlobRefused(ProtocolError):
    """The runner's fault: what it brought is not what it announced."""


class _Part:
    """A blob of which not all is here. What was written goes to the platter by `beside`, while more comes."""

    def __init__(self, path: Path, size: int, beside: Executor) -> None:
        self._beside = beside
        self._syncing: Future[None] | None = None
        self.broken = False
        """Whether the platter refused some of it, so that nobody knows what it has."""
        self.path = path
        self.size = size
        self.sum = hashlib.sha256()
        self.upto = 0
        self._synced = 0
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while self.upto < size and (data := os.pread(self.handle, min(_READ_BYTES, size - self.upto), self.upto)):
            self.sum.update(data)
            self.upto += len(data)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        at = self.upto
        while rest:
            count = os.pwrite(self.handle, rest, at)
            rest, at = rest[count:], at + count
        self.sum.update(data)
        self.upto = at
        if self.upto - self._synced >= SYNC_BYTES:
            self._wait()
            self._syncing = self._beside.submit(self._sync)
            self._synced = self.upto

    def sync(self) -> None:
        self._wait()
        self._sync()

    def _sync(self) -> None:
        try:
            os.fdatasync(self.handle)
        except OSError:
            # The system has given up what it could not write, and would say the next time that all is well.
            self.broken = True
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):  # Whoever closes it did not want to know.
            self._wait()
        os.close(self.handle)

    def open(self) -> bool:
        """Go on with it after it was closed; whether all that was here still is."""
        try:
            self.handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if os.fstat(self.handle).st_size >= self.upto:
            return True
        self.close()
        return False

    def _wait(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()


class Incoming:
    """Parts below the folder `root`, on their way to `blobs`. One thread calls it."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._root = root
        self._blobs = blobs
        self._open: OrderedDict[str, _Part] = OrderedDict()
        self._idle: OrderedDict[str, _Part] = OrderedDict()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="platter")

    def write(self, owner: str, digest: str, size: int, at: int, data: bytes) -> int:
        """Take bytes `at` and on of the blob that `owner` brings; return how much of it is here. All of it is said only
        once the blob is kept.

        Bytes that are here already are skipped, bytes behind a gap are not taken.

        Raises:
            BlobRefused: it is whole, and not what was announced; it begins anew.
            StoreError: the disk is full or failing; what is here is as before, and begins anew where nobody knows what
                the platter has of it.
        """
        with disk_failures("take the files of a job"):
            name = f"{owner}-{digest}"
            part = self._part(name, size)
            try:
                if at <= part.upto < at + len(data):
                    if at + len(data) > size:
                        raise BlobRefused("there is more of it than was announced")
                    part.write(data[part.upto - at :])
                if part.upto < size:
                    return part.upto
                self._finish(name, part, digest)
            except OSError:
                if part.broken:
                    self._drop(name, part)
                raise
        return size

    def close(self) -> None:
        """Let go of all files; a next process goes on with them."""
        while self._open:
            self._open.popitem()[1].close()
        self._beside.shutdown()

    def sweep(self) -> None:
        """Delete what nobody went on with for a day. Raises StoreError."""
        with disk_failures("look through what was not finished"):
            for path in self._root.glob(f"*{PART}"):
                if path.name.removesuffix(PART) not in self._open and time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink(missing_ok=True)

    def _part(self, name: str, size: int) -> _Part:
        part = self._open.pop(name, None) or self._reopened(name)
        if part is None:
            make_folder(self._root)
            part = _Part(self._root / f"{name}{PART}", size, self._beside)
        elif part.size != size:
            self._drop(name, part)
            raise BlobRefused("it was announced with another size before")
        self._open[name] = part
        if len(self._open) > OPEN_MAX:
            oldest, idle = self._open.popitem(last=False)
            idle.close()
            self._idle[oldest] = idle
            if len(self._idle) > IDLE_MAX:
                self._idle.popitem(last=False)
        return part

    def _reopened(self, name: str) -> _Part | None:
        part = self._idle.pop(name, None)
        if part is not None and part.broken:
            part.path.unlink(missing_ok=True)
            return None
        return part if part is not None and part.open() else None

    def _finish(self, name: str, part: _Part, digest: str) -> None:
        if part.sum.hexdigest() != digest:
            self._drop(name, part)
            raise BlobRefused("it arrived damaged")
        part.sync()
        if os.fstat(part.handle).st_size != part.size:
            # An earlier part that was longer than what is announced now.
            os.ftruncate(part.handle, part.size)
            os.fsync(part.handle)
        if not part.path.exists():
            raise OSError(errno.ENOENT, "somebody deleted it")
        self._blobs.take(part.path, digest)
        del self._open[name]
        part.close()

    def _drop(self, name: str, part: _Part) -> None:
        self._open.pop(name, None)
        part.close()
        part.path.unlink(missing_ok=True)
