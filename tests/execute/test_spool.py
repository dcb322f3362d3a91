"""The log on disk: what one process appends another reads, at any time and from any place."""

from __future__ import annotations

import errno
import os
import random
import resource
from pathlib import Path

import pytest

from surveil.execute.logs.output import CHUNK_BYTES_MAX
from surveil.execute.logs.spool import SYNC_MS, DamagedError, SpoolReader, SpoolWriter


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


def written(path: Path, *pieces: bytes) -> SpoolWriter:
    writer = SpoolWriter(str(path), Clock())
    for number, piece in enumerate(pieces):
        writer.append(piece, number)
    return writer


def read_all(reader: SpoolReader, at: int = 0, count: int = 1_000) -> bytes:
    log = bytearray()
    while (chunk := reader.read(at + len(log), count)) is not None:
        assert chunk.at == at + len(log)
        log += chunk.data
    return bytes(log)


@pytest.mark.parametrize("seed", range(20))
def test_any_part_can_be_read_while_more_is_written(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    writer = written(tmp_path / "spool")
    reader = SpoolReader(str(tmp_path / "spool"))
    log = b""
    for _ in range(30):
        piece = dice.randbytes(dice.choice([1, 10, 5_000]))
        writer.append(piece, 5)
        log += piece
        assert reader.look() == len(log) == writer.log_bytes
        at = dice.randrange(len(log))
        assert read_all(reader, at, dice.choice([1_000, 70_000])) == log[at:]
    reader.close()
    writer.close()


def test_what_is_longer_than_a_chunk_is_parted(tmp_path: Path) -> None:
    data = os.urandom(2 * CHUNK_BYTES_MAX + 5)
    writer = written(tmp_path / "spool", data)
    reader = SpoolReader(str(tmp_path / "spool"))
    reader.look()
    first = reader.read(0, 10 * CHUNK_BYTES_MAX)
    assert first is not None
    assert len(first.data) == CHUNK_BYTES_MAX
    assert read_all(reader, 0, CHUNK_BYTES_MAX) == data
    reader.close()
    writer.close()


def test_a_frame_that_is_not_whole_yet_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    written(path, b"one", b"two").close()
    whole = path.read_bytes()
    reader = SpoolReader(str(path))
    for length in range(len(whole) // 2, len(whole)):
        os.truncate(path, 0)
        path.write_bytes(whole[:length])
        assert reader.look() == 3
    path.write_bytes(whole)
    assert reader.look() == 6
    assert read_all(reader) == b"onetwo"
    reader.close()


def test_damage_is_told_and_never_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    written(path, b"first", b"second").close()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    reader = SpoolReader(str(path))
    reader.look()
    first = reader.read(0, 5)
    assert first is not None
    assert first.data == b"first"
    with pytest.raises(ValueError, match="damaged"):
        reader.read(5, 6)
    reader.close()


def test_a_damaged_frame_takes_no_others_along(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    written(path, b"first", b"second", b"third").close()
    content = path.read_bytes()
    damaged = content.replace(b"second", b"sec0nd")
    assert damaged != content
    path.write_bytes(damaged)
    reader = SpoolReader(str(path))
    assert reader.look() == 16
    before, behind = reader.read(0, 16), reader.read(11, 5)
    assert before is not None
    assert behind is not None
    assert (before.at, before.data, behind.data) == (0, b"first", b"third")
    with pytest.raises(DamagedError) as damage:
        reader.read(5, 11)
    assert damage.value.upto == 11
    reader.close()


def test_a_disk_that_takes_no_more_leaves_whole_frames_behind(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    writer = written(path, b"x" * 900)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match="large") as caught:
            writer.append(b"y" * 900, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert path.stat().st_size == 920
    assert writer.log_bytes == 900
    writer.append(b"z", 0)
    writer.close()
    reader = SpoolReader(str(path))
    reader.look()
    assert read_all(reader) == b"x" * 900 + b"z"
    reader.close()


def test_the_first_of_a_log_is_put_on_the_platter_at_once_with_what_it_is_found_by(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "note").touch()
    writer = SpoolWriter(str(tmp_path / "spool"), clock, note=str(tmp_path / "note"))
    clock.now = 50
    assert writer.due_at() is None
    writer.append(b"x", 0)
    clock.now = 60
    assert writer.due_at() == 50
    writer.sync()
    assert writer.due_at() is None
    writer.append(b"x", 0)
    assert writer.due_at() == 60 + SYNC_MS
    writer.close()


def test_what_is_written_is_put_on_the_platter_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    writer = SpoolWriter(str(tmp_path / "spool"), clock)
    assert writer.due_at() is None
    clock.now = 50
    writer.append(b"x", 0)
    assert writer.due_at() == 50 + SYNC_MS
    writer.sync()
    assert writer.due_at() is None
    writer.append(b"x" * 2_000_000, 0)
    assert writer.due_at() is None
    writer.close()
