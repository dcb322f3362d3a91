"""A finished log that is to take more: it becomes again what it was before it was compressed.

What belongs here: writing the two files of `log_live` from the one of `log_packed`, durably. What does not: which logs
are opened again, and when the compressed one goes (`logs`).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from surveil.disk import sync_folder
from surveil.store.log_chunks import CHUNK_BYTES_MAX
from surveil.store.log_live import DATA, INDEX, LiveLog
from surveil.store.log_packed import PackedError, PackedReader


def unpack(packed: PackedReader, stem: Path) -> None:
    """Write the log beside its compressed form, with the times of its chunks.

    Raises:
        OSError: the disk is full, or does not do its part; the compressed form is untouched.
        PackedError: some of it is damaged.
    """
    for suffix in (INDEX, DATA):  # What a crash left of an earlier try.
        stem.with_name(stem.name + suffix).unlink(missing_ok=True)
    live = LiveLog(stem)
    try:
        for (at, after_ms), (end, _) in pairwise([*packed.times(), (packed.length, 0)]):
            for start in range(at, end, CHUNK_BYTES_MAX):
                if live.full:
                    _sync(live)
                piece = packed.read(start, min(CHUNK_BYTES_MAX, end - start))
                if piece.damaged:
                    raise PackedError(f"bytes {start} and on are not what was written")
                live.append(memoryview(piece.data), crc=None, after_ms=after_ms)
        if live.end != packed.length:
            raise PackedError(f"its parts are {live.end} bytes long together, and it is {packed.length}")
        _sync(live)
    finally:
        live.close()
    sync_folder(stem.parent)


def _sync(live: LiveLog) -> None:
    live.sync_data()
    live.sync_index()
