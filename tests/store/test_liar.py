"""A bucket whose server lies, breaks off, crawls or refuses: nothing false is given, nothing is lost, and nobody waits
for longer than is said.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.store import bucket as module
from surveil.store import bucketed
from surveil.store.bucket import Bucket, BucketError
from surveil.store.bucketed import BucketBlobs, name_of
from tests.store.liar import Liar, Vice, boasts, crawls, cuts, liar, portal, refuses, refuses_to_put

DATA = bytes(range(256)) * 10
DIGEST = hashlib.sha256(DATA).hexdigest()
KEY = f"one/{name_of(DIGEST)}"


@pytest.fixture
def server() -> Iterator[Liar]:
    with liar() as running:
        yield running


@pytest.fixture
def blobs(server: Liar, tmp_path: Path) -> BucketBlobs:
    """With one blob, which is in the bucket alone."""
    (tmp_path / "blobs").mkdir()
    found = BucketBlobs(tmp_path / "blobs", Bucket(server.where(tmp_path)), "a cluster")
    keep(found, DATA, tmp_path)
    assert asyncio.run(found.move()) == ""
    (tmp_path / "blobs" / bucketed.COPIES / name_of(DIGEST)).unlink()
    return found


def keep(blobs: BucketBlobs, data: bytes, tmp_path: Path) -> str:
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "new").write_bytes(data)
    blobs.take(tmp_path / "new", digest)
    return digest


@pytest.mark.parametrize("vice", [portal, boasts], ids=["shows a page of its own", "boasts"])
def test_what_is_not_what_it_should_be_is_not_given_not_deleted_and_not_taken_for_there(
    server: Liar, blobs: BucketBlobs, tmp_path: Path, vice: Vice
) -> None:
    server.vice = vice
    assert (blobs.size(DIGEST), blobs.read(DIGEST, 0, 10), blobs.size(DIGEST)) == (len(DATA), b"", None)
    assert server.objects[KEY] == DATA
    server.vice = None
    assert blobs.read(DIGEST, 0, 10) == b"", "for a while it is held for damaged"
    again = BucketBlobs(tmp_path / "blobs", blobs.bucket, "a cluster")
    assert again.read(DIGEST, 0, len(DATA)) == DATA


def test_what_breaks_off_is_not_given(server: Liar, blobs: BucketBlobs, tmp_path: Path) -> None:
    server.vice = cuts
    with pytest.raises(BucketError, match=r"could not read a file: s3://builds/one at .* does not answer"):
        blobs.read(DIGEST, 0, 10)
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
    assert server.objects[KEY] == DATA


def test_what_crawls_is_given_up(server: Liar, blobs: BucketBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_S", 0.2)
    monkeypatch.setattr(module, "PART_BYTES", 2)
    server.vice = crawls
    with pytest.raises(BucketError, match=r"gives only \d+ bytes of it a second"):
        blobs.read(DIGEST, 0, 10)
    with pytest.raises(BucketError, match="of it a second"):
        blobs.size(hashlib.sha256().hexdigest())  # Nobody else waits for it meanwhile.


def test_what_takes_long_and_goes_on_is_waited_for(
    server: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bucket(server.where(tmp_path)).put_bytes("slow", bytes(32))
    monkeypatch.setattr(module, "QUICK_S", 1.0)
    monkeypatch.setattr(module, "SLOW_S", 0.3)
    monkeypatch.setattr(module, "PACE_BYTES_S", 2)
    bucket = Bucket(server.where(tmp_path))
    server.vice = crawls
    found = bucket.read("slow")
    assert found is not None
    assert b"".join(found.pieces) == bytes(32)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((503, "SlowDown"), "answers 503 Service Unavailable, SlowDown"),
        ((507, "InsufficientStorage"), r"is full \(InsufficientStorage\); make room there"),
        ((403, "QuotaExceeded"), r"is full \(QuotaExceeded\); make room there"),
        ((403, "AccessDenied"), r"does not let us \(AccessDenied\); look at the keys"),
        ((403, "RequestTimeTooSkewed"), "do not agree on the time .*; set the clock here"),
        ((301, "PermanentRedirect"), "sends us elsewhere; name the bucket's region with `--blobs-region`"),
    ],
)
def test_what_the_server_refuses_waits_here_and_it_is_said_why(
    server: Liar, blobs: BucketBlobs, tmp_path: Path, answer: tuple[int, str], sentence: str
) -> None:
    other = keep(blobs, b"other", tmp_path)
    server.vice = refuses(*answer)
    with pytest.raises(BucketError, match=sentence):
        asyncio.run(blobs.move())
    assert (blobs.waiting, blobs.read(other, 0, 10)) == (1, b"other")
    server.vice = None
    assert (asyncio.run(blobs.move()), blobs.waiting) == ("", 0)


def test_one_that_the_server_does_not_take_keeps_no_other_waiting(
    server: Liar, blobs: BucketBlobs, tmp_path: Path
) -> None:
    large, small = keep(blobs, b"large", tmp_path), keep(blobs, b"sml", tmp_path)
    server.vice = refuses_to_put(5)
    with pytest.raises(BucketError, match="EntityTooLarge"):
        asyncio.run(blobs.move())
    assert asyncio.run(blobs.move()) == ""
    assert (f"one/{name_of(small)}" in server.objects, blobs.waiting) == (True, 1)
    assert blobs.read(large, 0, 10) == b"large"
