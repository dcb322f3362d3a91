"""Blobs on their way and at rest: whole or not at all, by content, and gone on with by the next process."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

import pytest

from surveil.store import StoreError, incoming
from surveil.store.blobs import READ_BYTES_MAX, FolderBlobs
from surveil.store.incoming import BlobRefused, Incoming

DATA = os.urandom(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


@pytest.fixture
def parts(tmp_path: Path, blobs: FolderBlobs) -> Incoming:
    return Incoming(tmp_path / "incoming", blobs)


def write(parts: Incoming, at: int, end: int, *, owner: str = "one", size: int = len(DATA)) -> int:
    return parts.write(owner, DIGEST, size, at, DATA[at:end])


def test_a_blob_is_there_once_it_is_whole_and_not_before(parts: Incoming, blobs: FolderBlobs) -> None:
    assert write(parts, 0, 0) == 0
    assert write(parts, 0, 100_000) == 100_000
    assert blobs.size(DIGEST) is None
    assert blobs.read(DIGEST, 0, 10) == b""
    assert write(parts, 100_000, 300_000) == 300_000
    assert blobs.size(DIGEST) == 300_000
    assert b"".join(blobs.read(DIGEST, at, 70_000) for at in range(0, 300_000, 70_000)) == DATA
    assert [digest for digest, _ in blobs.all()] == [DIGEST]


def test_what_comes_twice_is_skipped_and_what_comes_behind_a_gap_is_not_taken(
    parts: Incoming, blobs: FolderBlobs
) -> None:
    assert write(parts, 0, 100_000) == 100_000
    assert write(parts, 0, 50_000) == 100_000
    assert write(parts, 150_000, 200_000) == 100_000
    assert write(parts, 50_000, 300_000) == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


def test_a_next_process_goes_on_where_the_last_one_was_killed(tmp_path: Path, blobs: FolderBlobs) -> None:
    first = Incoming(tmp_path / "incoming", blobs)
    assert write(first, 0, 123_456) == 123_456
    second = Incoming(tmp_path / "incoming", blobs)
    assert write(second, 0, 0) == 123_456
    assert write(second, 123_456, 300_000) == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA
    first.close()


def test_what_the_disk_changed_meanwhile_is_refused_and_begins_anew(tmp_path: Path, blobs: FolderBlobs) -> None:
    first = Incoming(tmp_path / "incoming", blobs)
    write(first, 0, 200_000)
    first.close()
    (part,) = (tmp_path / "incoming").iterdir()
    part.write_bytes(b"x" + part.read_bytes()[1:])
    second = Incoming(tmp_path / "incoming", blobs)
    with pytest.raises(BlobRefused, match="damaged"):
        write(second, 200_000, 300_000)
    assert blobs.size(DIGEST) is None
    assert write(second, 0, 300_000) == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


def test_more_than_was_announced_is_refused(parts: Incoming) -> None:
    with pytest.raises(BlobRefused, match="more of it"):
        parts.write("one", DIGEST, 10, 0, DATA[:11])


def test_two_owners_of_one_blob_do_not_meet_on_its_way(parts: Incoming, blobs: FolderBlobs) -> None:
    with pytest.raises(BlobRefused):
        parts.write("liar", DIGEST, len(DATA), 0, bytes(len(DATA)))
    assert write(parts, 0, 100_000, owner="one") == 100_000
    assert write(parts, 0, 300_000, owner="two") == 300_000
    assert write(parts, 100_000, 300_000, owner="one") == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


def test_only_so_many_parts_are_held_open(
    tmp_path: Path, parts: Incoming, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "OPEN_MAX", 2)
    for owner in "abcde":
        write(parts, 0, 1_000, owner=owner)
    assert 1 <= held_open(tmp_path) <= 2
    assert write(parts, 0, 300_000, owner="a") == 300_000
    assert blobs.size(DIGEST) == 300_000
    parts.close()
    assert held_open(tmp_path) == 0


def held_open(folder: Path) -> int:
    """How many files of the folder this process has open; of other files other tests may be letting go just now."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(each.readlink()).startswith(f"{folder}/")
    return found


def test_many_who_bring_at_once_cost_no_reading(
    parts: Incoming, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each piece of a large blob would wait for all before it to be read once more."""
    monkeypatch.setattr(incoming, "OPEN_MAX", 1)
    write(parts, 0, 100_000, owner="one")
    write(parts, 0, 100_000, owner="two")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", None)
        assert write(parts, 100_000, 200_000, owner="one") == 200_000
        assert write(parts, 100_000, 200_000, owner="two") == 200_000
    assert write(parts, 200_000, 300_000, owner="one") == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


@pytest.mark.parametrize("left", [None, 50_000], ids=["gone", "cut"])
def test_a_part_that_was_closed_and_changed_meanwhile_is_looked_at_again(
    tmp_path: Path, parts: Incoming, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch, left: int | None
) -> None:
    monkeypatch.setattr(incoming, "OPEN_MAX", 1)
    write(parts, 0, 100_000, owner="one")
    write(parts, 0, 0, owner="two")
    (part,) = (tmp_path / "incoming").glob(f"one-*{incoming.PART}")
    if left is None:
        part.unlink()
    else:
        os.truncate(part, left)
    assert write(parts, 100_000, 100_000, owner="one") == (left or 0)
    assert write(parts, left or 0, 300_000, owner="one") == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


def test_a_blob_that_changes_its_size_on_the_way_begins_anew(parts: Incoming, tmp_path: Path) -> None:
    assert write(parts, 0, 100_000) == 100_000
    with pytest.raises(BlobRefused, match="another size"):
        write(parts, 0, 0, size=len(DATA) + 1)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert write(parts, 0, 0) == 0


@pytest.mark.parametrize("when", ["beside what comes", "at the end"])
def test_a_platter_that_refused_some_of_it_has_it_begin_anew(
    parts: Incoming, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The system has given up what it could not write; the second time it would say that all is well."""
    refusals = [OSError(errno.EIO, "Input/output error")]

    def refuse(_handle: int) -> None:
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr(os, "fdatasync", refuse)
    if when == "beside what comes":
        monkeypatch.setattr(incoming, "SYNC_BYTES", 100_000)

    def bring() -> None:
        for at in range(0, 300_000, 100_000):
            write(parts, at, at + 100_000)

    with pytest.raises(StoreError, match="Input/output error"):
        bring()
    assert blobs.size(DIGEST) is None
    assert write(parts, 200_000, 300_000) == 0
    assert write(parts, 0, 300_000) == 300_000
    assert blobs.read(DIGEST, 0, READ_BYTES_MAX) == DATA


def test_so_does_one_that_was_closed_meanwhile(parts: Incoming, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(incoming, "OPEN_MAX", 1)
    monkeypatch.setattr(incoming, "SYNC_BYTES", 100_000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        assert write(parts, 0, 100_000, owner="one") == 100_000
        write(parts, 0, 10, owner="two")
    assert write(parts, 100_000, 200_000, owner="one") == 0


def test_what_nobody_went_on_with_for_a_day_is_deleted(tmp_path: Path, parts: Incoming) -> None:
    write(parts, 0, 10, owner="old")
    write(parts, 0, 10, owner="new")
    parts.close()
    (tmp_path / "incoming" / f"old-{DIGEST}.part").touch()
    os.utime(tmp_path / "incoming" / f"old-{DIGEST}.part", (1, 1))
    parts.sweep()
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [f"new-{DIGEST}.part"]


def test_a_disk_that_does_not_do_its_part_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="could not take the files of a job"):
        Incoming(tmp_path / "file", FolderBlobs(tmp_path)).write("one", DIGEST, 10, 0, b"x")


def test_removing_and_touching_what_is_not_there_is_fine(tmp_path: Path, parts: Incoming, blobs: FolderBlobs) -> None:
    blobs.touch(DIGEST)
    blobs.remove(DIGEST)
    write(parts, 0, 300_000)
    os.utime(tmp_path / DIGEST[:2] / DIGEST[2:], (1, 1))
    assert [since for _, since in blobs.all()] == [1]
    blobs.touch(DIGEST)
    assert next(blobs.all())[1] > 1
    blobs.remove(DIGEST)
    assert list(blobs.all()) == []
