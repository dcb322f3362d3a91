"""A log that is finished: one file of blocks that are compressed each for itself, so that any byte is found without
unpacking the rest.

What belongs here: this file's form. What does not: when a log is finished (`logs`), logs that are still written
(`log_live`).

The form: a head that names it; the blocks, each `BLOCK_BYTES` of the log but the last; a table with each block's
place, packed length and checksum of its packed bytes (zlib's own vouches for the unpacked ones); the times of the
chunks that there were; and a tail that says where the table is. The file is written under another name and renamed
when it is whole and durable, so that every crash leaves one good copy of the log.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from surveil.store.log_live import LogSlice

SUFFIX: Final = ".logz"
PART: Final = ".part"
BLOCK_BYTES: Final = 256 * 1024
LEVEL: Final = 3
"""Text shrinks to nearly what the highest level makes of it, at several times its speed."""

_HEAD: Final = b"surveil log 1\n"
_BLOCK: Final = struct.Struct("<QII")
_TIME: Final = struct.Struct("<QQ")
_TAIL: Final = struct.Struct("<QQII")
_CHECK: Final = struct.Struct("<I")


class PackedError(Exception):
    """The file is no packed log, or its table is damaged, so that nothing in it can be found."""


def pack(stem: Path, blocks: Iterable[bytes], times: Iterable[tuple[int, int]]) -> None:
    """Write the packed form of a log beside it, durably, under its final name.

    Args:
        stem: the log's path without a suffix.
        blocks: the log's bytes in pieces of `BLOCK_BYTES`; only the last may be shorter.
        times: each chunk's first byte and its `after_ms`.

    Raises:
        OSError: the disk is full, or does not do its part; the log is as before.
    """
    part = stem.with_name(stem.name + SUFFIX + PART)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(_HEAD)
        at, length, table = len(_HEAD), 0, bytearray()
        for block in blocks:
            packed = zlib.compress(block, LEVEL)
            table += _BLOCK.pack(at, len(packed), zlib.crc32(packed))
            file.write(packed)
            at += len(packed)
            length += len(block)
        clock = zlib.compress(b"".join(_TIME.pack(*time) for time in times), LEVEL)
        file.write(table)
        file.write(clock)
        tail = _TAIL.pack(at, length, len(table), len(clock))
        file.write(tail + _CHECK.pack(_check(table, clock, tail)))
        file.flush()
        os.fsync(file.fileno())
    part.rename(stem.with_name(stem.name + SUFFIX))


def _check(table: bytes | bytearray, clock: bytes, tail: bytes) -> int:
    return zlib.crc32(tail, zlib.crc32(clock, zlib.crc32(table)))


class PackedReader:
    """The reading end of a packed log, for any thread."""

    def __init__(self, stem: Path | str) -> None:
        """Open the log and check its table.

        Raises:
            FileNotFoundError: there is none.
            PackedError: its table is damaged.
        """
        self._handle = os.open(f"{stem}{SUFFIX}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._open(stem)
        except PackedError:
            os.close(self._handle)
            raise

    def _open(self, stem: Path | str) -> None:
        size = os.fstat(self._handle).st_size
        ends = os.pread(self._handle, _TAIL.size + _CHECK.size, max(0, size - _TAIL.size - _CHECK.size))
        if len(ends) != _TAIL.size + _CHECK.size or os.pread(self._handle, len(_HEAD), 0) != _HEAD:
            raise PackedError(f"{Path(stem).name}{SUFFIX} is no packed log, or was cut off")
        tail, (check,) = ends[: _TAIL.size], _CHECK.unpack_from(ends, _TAIL.size)
        at, length, table_bytes, clock_bytes = _TAIL.unpack(tail)
        self.length: int = length
        if at + table_bytes + clock_bytes + len(ends) != size:
            raise PackedError(f"{Path(stem).name}{SUFFIX} is no packed log, or was cut off")
        self._table: bytes = os.pread(self._handle, table_bytes, at)
        clock = os.pread(self._handle, clock_bytes, at + table_bytes)
        if check != _check(self._table, clock, tail) or self.blocks != -(-length // BLOCK_BYTES):
            raise PackedError(f"the table of {Path(stem).name}{SUFFIX} is damaged")
        self._clock = clock
        self._blocks_end: int = at

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self._table) // _BLOCK.size

    def times(self) -> Iterator[tuple[int, int]]:
        """Each chunk's first byte, and when it was written in milliseconds after the attempt was accepted.

        Raises:
            PackedError: they are not what was written.
        """
        try:
            yield from _TIME.iter_unpack(zlib.decompress(self._clock))
        except (zlib.error, struct.error) as error:
            raise PackedError("the times of a packed log are damaged") from error

    def read(self, at: int, limit: int) -> LogSlice:
        """At most `limit` bytes from `at`, each block checked."""
        upto = min(at + limit, self.length)
        if at >= upto:
            return LogSlice(at=at, data=b"", length=self.length)
        first, last = at // BLOCK_BYTES, (upto - 1) // BLOCK_BYTES
        blocks = [self.block(number) for number in range(first, last + 1)]
        data = b"".join(block for block, _ in blocks)
        start = at - first * BLOCK_BYTES
        return LogSlice(
            at=at, data=data[start : start + upto - at], length=self.length, damaged=not all(good for _, good in blocks)
        )

    def block(self, number: int) -> tuple[bytes, bool]:
        """One block, and whether it is what was written; of a damaged one come as many zeros as it had bytes."""
        at, packed_bytes, crc = _BLOCK.unpack_from(self._table, number * _BLOCK.size)
        wanted = min(BLOCK_BYTES, self.length - number * BLOCK_BYTES)
        packed = os.pread(self._handle, packed_bytes, at) if at + packed_bytes <= self._blocks_end else b""
        if not packed or zlib.crc32(packed) != crc:
            return bytes(wanted), False
        unpacker = zlib.decompressobj()
        try:
            # One byte more than there should be: only at the stream's end does zlib check what it unpacked.
            block = unpacker.decompress(packed, wanted + 1)
        except zlib.error:
            return bytes(wanted), False
        good = unpacker.eof and len(block) == wanted
        return (block, True) if good else (bytes(wanted), False)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)
