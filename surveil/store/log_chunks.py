"""The index beside a log that is still written: one slot of fixed size for each chunk of the log.

What belongs here: what a slot says, whether it is whole, and how to find one. What does not: the log's bytes
(`log_live`), compressed logs (`log_packed`).

A chunk is what one flush made durable, in parts of at most `CHUNK_BYTES_MAX`. Its bytes were durable before its slot
was written, so a slot that is whole and bytes that do not fit it mean damage, never a loss of power. The slots of the
newest flush, and only these, may be torn.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final
from zlib import crc32

from surveil.frozen import dataclass

CHUNK_BYTES_MAX: Final = 256 * 1024
FLUSH_CHUNKS_MAX: Final = 512
"""The most chunks of one log in one flush: how far back a loss of power can have torn its index."""
_AT_MAX: Final = 2**53
"""No log reaches there; a place beyond is none that a file could have."""

_FIELDS: Final = struct.Struct("<QQIII")
_CHECK: Final = struct.Struct("<I")
SLOT_BYTES: Final = _FIELDS.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes `at` and on of a log. `after_ms` is when its first byte was written; `flush` numbers the flushes of the
    log, modulo 2^32.
    """

    at: int
    length: int
    crc: int
    after_ms: int
    flush: int

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.at + self.length

    def packed(self) -> bytes:
        """Its slot."""
        fields = _FIELDS.pack(self.at, self.after_ms, self.length, self.crc, self.flush)
        return fields + _CHECK.pack(crc32(fields))


def chunk_of(slot: bytes) -> Chunk | None:
    """Read a slot, None where it is not whole, or says what was never written."""
    if len(slot) != SLOT_BYTES or _CHECK.unpack_from(slot, _FIELDS.size)[0] != crc32(slot[: _FIELDS.size]):
        return None
    at, after_ms, length, crc, flush = _FIELDS.unpack_from(slot)
    if at > _AT_MAX or length > CHUNK_BYTES_MAX:
        return None
    return Chunk(at, length, crc, after_ms, flush)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What of an index outlives a start: so many slots, the last of them, and the number of the newest flush.

    With `lost_end` the last slot is damaged, and only the log's own length tells where it ends.
    """

    slots: int
    last: Chunk | None
    lost_end: bool
    flush: int


class Slots:
    """The slots of one index file, read where they lie: an index is never held in memory as a whole."""

    __slots__ = ("_handle", "count")

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.count = os.fstat(handle).st_size // SLOT_BYTES

    def get(self, number: int) -> Chunk | None:
        """One slot, None where it is not whole."""
        return chunk_of(self._raw(number))

    def from_slot(self, first: int) -> Iterator[Chunk | None]:
        """The slots from `first` to the last."""
        for base in range(first, self.count, FLUSH_CHUNKS_MAX):
            wanted = min(FLUSH_CHUNKS_MAX, self.count - base)
            block = os.pread(self._handle, wanted * SLOT_BYTES, base * SLOT_BYTES)
            for at in range(0, len(block) - SLOT_BYTES + 1, SLOT_BYTES):
                yield chunk_of(block[at : at + SLOT_BYTES])

    def find(self, at: int) -> int:
        """The last whole slot that begins at or before byte `at`; 0 where there is none."""
        low, high = 0, self.count
        while high - low > 1:
            middle = (low + high) // 2
            probe, chunk = middle, self.get(middle)
            while chunk is None and probe + 1 < high:
                probe += 1
                chunk = self.get(probe)
            if chunk is not None and chunk.at <= at:
                low = probe
            else:
                high = middle
        return low

    def end(self) -> int | None:
        """How long the log is, None where the slot that would say so is damaged."""
        for number in range(self.count - 1, -1, -1):
            # The writer may be at this very slot: a second look sees it whole.
            for slot in (self._raw(number), self._raw(number)):
                chunk = chunk_of(slot)
                if chunk is not None:
                    return chunk.end
            if slot.strip(b"\0"):
                return None
        return 0

    def recover(self) -> Recovered:
        """What to keep after a start.

        A slot never crosses a sector's border, so a loss of power leaves it whole or as zeros. Zeros in the newest
        flush end the log; any other slot that is not whole is damage, which stays where it is, so that reading says
        so.
        """
        first = max(0, self.count - 2 * FLUSH_CHUNKS_MAX)
        raw = [self._raw(number) for number in range(first, self.count)]
        chunks = [chunk_of(slot) for slot in raw]
        newest = next((chunk for chunk in reversed(chunks) if chunk is not None), None)
        older = [at for at, chunk in enumerate(chunks) if chunk is not None and newest and chunk.flush != newest.flush]
        keep = older[-1] + 1 if older else 0
        while keep < len(raw) and raw[keep].strip(b"\0"):
            keep += 1
        last = chunks[keep - 1] if keep else None
        lost_end = first + keep > 0 and last is None
        return Recovered(slots=first + keep, last=last, lost_end=lost_end, flush=newest.flush if newest else 0)

    def _raw(self, number: int) -> bytes:
        return os.pread(self._handle, SLOT_BYTES, number * SLOT_BYTES)
