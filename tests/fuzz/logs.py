"""Logs on disks: a reader gives what was written, or says that it is damaged; never other bytes without a word."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from surveil.execute.logs.spool import SpoolReader, SpoolWriter
from surveil.store.log_chunks import CHUNK_BYTES_MAX, Chunk
from surveil.store.log_live import DATA, INDEX, LiveLog, LiveReader, LogSlice
from surveil.store.log_packed import SUFFIX, PackedError, PackedReader, pack
from tests.fuzz.disks import emptied
from tests.fuzz.draw import Draw

LOG_BYTES_MAX: Final = 4_000
READS_MAX: Final = 4
READ_BYTES_MAX: Final = 1024 * 1024
PIECES: Final = (b"x", b"\n", b"\0", b"ok\r\n", b"\x1b[31m", b"\xff\xfe", b"line of a log\n" * 20, bytes(range(256)))


def check(data: bytes) -> None:
    """Write a log, damage it, read it."""
    draw = Draw(data)
    WAYS[draw.byte() % len(WAYS)](draw, emptied())


def seeds() -> Iterator[bytes]:
    """Logs of a few pieces, whole and damaged, in each form; and files of nothing but bytes."""
    for way in range(len(WAYS)):
        for start in range(0, 256, 5):
            yield bytes([way]) + bytes((start + 11 * step) % 256 for step in range(70))


def _pieces(draw: Draw) -> list[bytes]:
    return [(draw.pick(PIECES) + draw.some(8))[:LOG_BYTES_MAX] or b"." for _ in range(1 + draw.byte() % 6)]


def _damage(draw: Draw, path: Path) -> bool:
    """Change a file somewhere, or not; whether it is another one now."""
    before = path.read_bytes()
    after = draw.edited(before, 3)
    path.write_bytes(after)
    return after != before


def _places(draw: Draw, length: int) -> Iterator[tuple[int, int]]:
    for _ in range(1 + draw.byte() % READS_MAX):
        yield draw.at_most(length + 2), draw.at_most(length + 2)


def _spool(draw: Draw, folder: Path) -> None:
    pieces, path = _pieces(draw), str(folder / "spool")
    with closing(SpoolWriter(path, lambda: 0)) as writer:
        for piece in pieces:
            writer.append(piece, draw.byte())
    written = b"".join(pieces)
    damaged = _damage(draw, Path(path))
    with closing(SpoolReader(path)) as reader:
        length = reader.look()
        assert damaged or length == len(written), "a whole log is not read to its end"
        for at, count in _places(draw, len(written)):
            try:
                chunk = reader.read(at, count)
            except ValueError:
                assert damaged, "a whole log is called damaged"
                continue
            found = b"" if chunk is None else chunk.data
            wanted = written[at : min(at + count, length)]
            # A read ends before what is damaged.
            assert found == wanted[: len(found)], "bytes that nobody wrote"
            assert bool(found) == bool(wanted)
            assert damaged or found == wanted
        assert reader.look() == length


def _spool_of_anything(draw: Draw, folder: Path) -> None:
    (folder / "spool").write_bytes(draw.rest())
    with closing(SpoolReader(str(folder / "spool"))) as reader:
        length = reader.look()
        at = 0
        while at < length:
            try:
                chunk = reader.read(at, READ_BYTES_MAX)
            except ValueError:
                break
            assert chunk is not None
            assert 0 < len(chunk.data) <= CHUNK_BYTES_MAX
            at += len(chunk.data)


def _live(draw: Draw, folder: Path) -> None:
    """A log whose files were damaged while nobody wrote it."""
    stem, written = folder / "1", _write_live(draw, folder / "1")
    damaged = _damage(draw, folder / ("1" + DATA)) | _damage(draw, folder / ("1" + INDEX))
    with closing(LiveReader(stem)) as reader:
        _compare(draw, reader.read, reader.length, written, damaged=damaged)


def _live_after_a_crash(draw: Draw, folder: Path) -> None:
    """A log whose files end too early, as a loss of power leaves them, and is gone on with."""
    stem, written = folder / "1", _write_live(draw, folder / "1")
    index = folder / ("1" + INDEX)
    index.write_bytes(index.read_bytes()[: draw.at_most(index.stat().st_size)])
    with closing(LiveLog(stem)) as log:
        kept = log.end
        assert kept <= len(written)
        log.append(memoryview(b"and on"), crc=None, after_ms=1)
        log.sync_data()
        log.sync_index()
    with closing(LiveReader(stem)) as reader:
        found = reader.read(0, READ_BYTES_MAX)
        assert (found.data, found.damaged) == (written[:kept] + b"and on", False), "what is left is no prefix"


def _live_of_anything(draw: Draw, folder: Path) -> None:
    """Slots with sums that are right and numbers that nobody would write."""
    slots = b"".join(
        Chunk(*(abs(draw.number()) % 2**bits for bits in (64, 32, 32, 64, 32))).packed() for _ in range(draw.byte() % 5)
    )
    (folder / ("1" + INDEX)).write_bytes(draw.edited(slots, 2))
    (folder / ("1" + DATA)).write_bytes(draw.some(1_000))
    for _ in range(2):
        with closing(LiveReader(folder / "1")) as reader:
            for at, count in _places(draw, 2_000):
                assert len(reader.read(at, count).data) <= count
        # Opening it for writing mends it; it is read again afterwards.
        with closing(LiveLog(folder / "1")) as log:
            log.append(memoryview(b"x"), crc=None, after_ms=0)


def _packed(draw: Draw, folder: Path) -> None:
    written = b"".join(_pieces(draw))
    pack(folder / "1", [written], [(0, draw.byte())])
    damaged = _damage(draw, folder / ("1" + SUFFIX))
    try:
        with closing(PackedReader(folder / "1")) as reader:
            assert reader.length == len(written), "a table that is not the one that was written"
            _compare(draw, reader.read, reader.length, written, damaged=damaged)
            list(reader.times())
    except PackedError:
        assert damaged, "a whole log is called damaged"


def _packed_of_anything(draw: Draw, folder: Path) -> None:
    """A table with a sum that is right and numbers that nobody would write."""
    body = draw.some(200)
    table = b"".join(
        struct.pack("<QII", abs(draw.number()) % 2**64, abs(draw.number()) % 2**32, zlib.crc32(body))
        for _ in range(draw.byte() % 3)
    )
    clock = zlib.compress(draw.some(48))
    tail = struct.pack("<QQII", 14 + len(body), abs(draw.number()) % 2**64, len(table), len(clock))
    check = zlib.crc32(tail, zlib.crc32(clock, zlib.crc32(table)))
    packed = b"surveil log 1\n" + body + table + clock + tail + struct.pack("<I", check)
    (folder / ("1" + SUFFIX)).write_bytes(draw.edited(packed, 1))
    try:
        with closing(PackedReader(folder / "1")) as reader:
            for at, count in _places(draw, 2_000):
                assert len(reader.read(at, count).data) <= count
            list(reader.times())
    except PackedError:
        pass


def _write_live(draw: Draw, stem: Path) -> bytes:
    pieces = _pieces(draw)
    with closing(LiveLog(stem)) as log:
        for piece in pieces:
            log.append(memoryview(piece), crc=None, after_ms=draw.byte())
            if draw.flag():
                log.sync_data()
                log.sync_index()
        log.sync_data()
        log.sync_index()
    return b"".join(pieces)


def _compare(draw: Draw, read: Callable[[int, int], LogSlice], length: int, written: bytes, *, damaged: bool) -> None:
    """What is not called damaged is what was written, and what was not damaged is not called so."""
    for at, count in _places(draw, len(written)):
        found = read(at, count)
        assert len(found.data) == max(0, min(count, length - at)), "another number of bytes than there are"
        assert damaged or not found.damaged
        assert found.damaged or found.data == written[at : at + count][: len(found.data)], "bytes that nobody wrote"


WAYS: Final = (
    _spool, _spool_of_anything, _live, _live_after_a_crash, _live_of_anything, _packed, _packed_of_anything,
)  # fmt: skip
