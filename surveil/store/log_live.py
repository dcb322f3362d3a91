"""A log that is still written: its bytes as they came in one file, and the index beside it in another.

What belongs here: writing the two so that a crash leaves a prefix, and reading them. What does not: which logs there
are (`logs`), compression (`log_packed`).
"""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import Final
from zlib import crc32

from surveil.frozen import dataclass
from surveil.store.log_chunks import CHUNK_BYTES_MAX, FLUSH_CHUNKS_MAX, SLOT_BYTES, Chunk, Slots

DATA: Final = ".log"
INDEX: Final = ".idx"
_FLUSH_MAX: Final = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSlice:
    """Bytes `at` and on of a log that is `length` bytes long by now. `damaged` bytes are not what the runner sent."""

    at: int
    data: bytes
    length: int
    damaged: bool = False


class LiveLog:
    """The writing end of one log. Bytes count as there only after `sync_data` and then `sync_index`."""

    __slots__ = ("_crc", "_data", "_flush", "_index", "_pending", "_slots", "durable", "end")

    def __init__(self, stem: Path) -> None:
        """Open, or make, the log; what a crash left unfinished is cut off.

        Raises:
            OSError: the disk does not do its part.
        """
        self._data = os.open(stem.with_name(stem.name + DATA), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._index = os.open(stem.with_name(stem.name + INDEX), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            os.close(self._data)
            raise
        found = Slots(self._index).recover()
        size = os.fstat(self._data).st_size
        self._slots = found.slots
        self.end = found.last.end if found.last is not None else size if found.lost_end else 0
        self.durable = self.end
        self._flush = (found.flush + 1) % _FLUSH_MAX
        self._pending: list[Chunk] = []
        os.ftruncate(self._index, self._slots * SLOT_BYTES)
        if size > self.end:
            os.ftruncate(self._data, self.end)
        if self.end:
            # A process that was killed may have left what only the system's memory holds; from here on it counts.
            os.fdatasync(self._data)
            # Where a sync failed, the system shows what the disk never got and calls it written: it is written again.
            _write_again(self._index, max(0, self._slots - FLUSH_CHUNKS_MAX) * SLOT_BYTES, self._slots * SLOT_BYTES)
            os.fdatasync(self._index)

    @property
    def dirty(self) -> int:
        """How many bytes are not durable yet."""
        return self.end - self.durable

    @property
    def full(self) -> bool:
        """Whether it must be flushed before it takes more."""
        return len(self._pending) >= FLUSH_CHUNKS_MAX

    def append(self, data: memoryview, *, crc: int | None, after_ms: int) -> None:
        """Write bytes at the end. `crc` is theirs, None where it is not known.

        Raises:
            OSError: the disk is full, or does not do its part. The log is as before.
        """
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._data, data[written:], self.end + written)
        except OSError:
            # What follows the end is cut off at the next start in any case; now it only frees the space.
            os.ftruncate(self._data, self.end)
            raise
        last = self._pending[-1] if self._pending else None
        if last is not None and last.length + len(data) <= CHUNK_BYTES_MAX:
            merged = crc32(data, last.crc)
            self._pending[-1] = Chunk(last.at, last.length + len(data), merged, last.after_ms, self._flush)
        else:
            known = crc32(data) if crc is None else crc
            self._pending.append(Chunk(self.end, len(data), known, after_ms, self._flush))
        self.end += len(data)

    def sync_data(self) -> None:
        """Make the bytes durable; their slots come after them."""
        os.fdatasync(self._data)

    def sync_index(self) -> None:
        """Make the slots durable, and with them the bytes count."""
        packed = b"".join(chunk.packed() for chunk in self._pending)
        written = 0
        while written < len(packed):
            written += os.pwrite(self._index, packed[written:], self._slots * SLOT_BYTES + written)
        os.fdatasync(self._index)
        self._slots += len(self._pending)
        self._pending = []
        self._flush = (self._flush + 1) % _FLUSH_MAX
        self.durable = self.end

    def close(self) -> None:
        """Let go of both files; what is not durable may be lost."""
        os.close(self._data)
        os.close(self._index)


class LiveReader:
    """The reading end of one log, for any thread, while another writes."""

    def __init__(self, stem: Path | str) -> None:
        """Open the log.

        Raises:
            FileNotFoundError: there is none, or it was compressed by now.
        """
        self._data = os.open(f"{stem}{DATA}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._index = os.open(f"{stem}{INDEX}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._data)
            raise
        self.slots = Slots(self._index)
        end = self.slots.end()
        self.length = os.fstat(self._data).st_size if end is None else end

    def read(self, at: int, limit: int) -> LogSlice:
        """At most `limit` bytes from `at`, each chunk checked."""
        upto = min(at + limit, self.length)
        if at >= upto:
            return LogSlice(at=at, data=b"", length=self.length)
        slots = takewhile(lambda slot: slot is None or slot.at < upto, self.slots.from_slot(self.slots.find(at)))
        chunks = [slot for slot in slots if slot is not None and slot.end > at]
        # In one piece: each line may be a chunk of its own, and each look at the file lets other threads in between.
        first = min((at, *(chunk.at for chunk in chunks)))
        window = self.raw(first, max((upto, *(chunk.end for chunk in chunks))))
        parts: list[bytes] = []
        reached, damaged = at, False
        for chunk in chunks:
            if chunk.end <= reached:
                continue
            if chunk.at > reached:
                # Slots that are not whole: the bytes are there, but nothing vouches for them.
                parts.append(window[reached - first : chunk.at - first])
                reached, damaged = chunk.at, True
            body = window[chunk.at - first : chunk.end - first]
            damaged = damaged or (reached < upto and crc32(body) != chunk.crc)
            parts.append(body[reached - chunk.at : upto - chunk.at])
            reached = min(chunk.end, upto)
        if reached < upto:
            parts.append(window[reached - first : upto - first])
            damaged = True
        return LogSlice(at=at, data=b"".join(parts), length=self.length, damaged=damaged)

    def raw(self, start: int, stop: int) -> bytes:
        """Bytes as they lie there, unchecked."""
        found = os.pread(self._data, stop - start, start)
        # A file that lost its end is padded, so that what comes after keeps its place.
        return found.ljust(stop - start, b"\0")

    def close(self) -> None:
        """Let go of both files."""
        os.close(self._data)
        os.close(self._index)


def _write_again(handle: int, start: int, stop: int) -> None:
    body = os.pread(handle, stop - start, start)
    written = 0
    while written < len(body):
        written += os.pwrite(handle, body[written:], start + written)
