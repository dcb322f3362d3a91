"""Blobs in a bucket, with real servers: there whole or not at all, damaged ones noticed, and a server that is away
costs nothing but time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.config import DispatcherConfig, load
from surveil.errors import SurveilError, UsageError
from surveil.store import StoreError, bucketed
from surveil.store import blobs as blobs_module
from surveil.store import bucket as module
from surveil.store.blobs import READ_BYTES_MAX
from surveil.store.bucket import Bucket, BucketError, Where, read_credentials, where_of
from surveil.store.bucketed import BucketBlobs, name_of
from tests.store.buckets import SECRET, Server, moto, rclone

DATA = random.Random(7).randbytes(12 * 1024 * 1024 + 5)
"""Two pieces of it, and not a whole third."""
OWNER = "a cluster"
DIGEST = hashlib.sha256(DATA).hexdigest()
SMALL = hashlib.sha256(b"small").hexdigest()


@pytest.fixture(scope="module", params=[rclone, moto], ids=["rclone", "moto"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with request.param(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def blobs(server: Server, tmp_path: Path) -> BucketBlobs:
    (tmp_path / "blobs").mkdir()
    return BucketBlobs(tmp_path / "blobs", Bucket(server.where(prefix=tmp_path.name)), OWNER)


def put(blobs: BucketBlobs, data: bytes, tmp_path: Path) -> str:
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "new").write_bytes(data)
    blobs.take(tmp_path / "new", digest)
    return digest


def move(blobs: BucketBlobs) -> str:
    return asyncio.run(blobs.move())


def drop_copies(tmp_path: Path) -> None:
    for copy in (tmp_path / "blobs" / bucketed.COPIES).glob("??/*"):
        copy.unlink()


def whole(blobs: BucketBlobs, digest: str) -> bytes:
    found = b""
    while piece := blobs.read(digest, len(found), READ_BYTES_MAX):
        found += piece
    return found


def test_a_blob_is_here_until_the_bucket_has_it_and_is_read_as_it_was_wherever_it_is(
    blobs: BucketBlobs, tmp_path: Path
) -> None:
    assert (blobs.size(DIGEST), whole(blobs, DIGEST)) == (None, b"")
    put(blobs, DATA, tmp_path)
    assert (blobs.size(DIGEST), whole(blobs, DIGEST), blobs.waiting) == (len(DATA), DATA, 1)
    assert [digest for digest, _ in blobs.all()] == [DIGEST]
    assert blobs.bucket.size(name_of(DIGEST)) is None
    assert move(blobs) == ""
    assert (blobs.waiting, blobs.bucket.size(name_of(DIGEST))) == (0, len(DATA))
    assert whole(blobs, DIGEST) == DATA  # A copy stays for a while.
    drop_copies(tmp_path)
    assert (blobs.size(DIGEST), whole(blobs, DIGEST)) == (len(DATA), DATA)
    assert (blobs.read(DIGEST, len(DATA) - 3, 10), blobs.read(DIGEST, len(DATA), 10)) == (DATA[-3:], b"")
    assert [digest for digest, _ in blobs.all()] == [DIGEST]
    blobs.remove(DIGEST)
    assert (blobs.size(DIGEST), whole(blobs, DIGEST), list(blobs.all())) == (None, b"", [])
    blobs.remove(DIGEST)


@pytest.mark.parametrize("name", ["readme", "x" * 64, f"{'x' * 2}/{'x' * 62}", f"one/{DIGEST}"])
def test_what_others_keep_in_the_bucket_is_none_of_ours(blobs: BucketBlobs, name: str) -> None:
    blobs.bucket.put_bytes(name, b"hello")
    assert list(blobs.all()) == []


def test_a_bucket_is_one_dispatchers(blobs: BucketBlobs, server: Server, tmp_path: Path) -> None:
    put(blobs, b"small", tmp_path)
    move(blobs)
    (tmp_path / "others").mkdir()
    other = BucketBlobs(tmp_path / "others", Bucket(server.where(prefix=tmp_path.name)), "another cluster")
    put(other, b"large", tmp_path)
    sentence = rf"s3://builds/{tmp_path.name} at .* is another dispatcher's .*: name another PREFIX with `--blobs"
    with pytest.raises(BucketError, match=sentence):
        move(other)
    with pytest.raises(BucketError, match=sentence):
        list(other.all())  # Or it would let go of all that it does not know.
    assert other.waiting == 1
    (tmp_path / "after").mkdir()
    after = BucketBlobs(tmp_path / "after", blobs.bucket, OWNER)
    assert [digest for digest, _ in after.all()] == [SMALL]
    after.bucket.remove(bucketed.OWNER)
    assert move(other) == ""
    with pytest.raises(BucketError, match="is another dispatcher's"):
        list(blobs.all())


def test_the_next_process_finds_what_waits_and_so_does_one_that_had_no_bucket_before(
    blobs: BucketBlobs, tmp_path: Path
) -> None:
    put(blobs, b"small", tmp_path)
    (tmp_path / "blobs" / bucketed.COPIES).mkdir()
    draft = tmp_path / "blobs" / bucketed.COPIES / f"{SMALL}.draft"
    draft.write_bytes(b"sm")
    after = BucketBlobs(tmp_path / "blobs", blobs.bucket, OWNER)
    assert after.waiting == 0
    after.look()
    assert (after.waiting, draft.exists(), move(after), after.bucket.size(name_of(SMALL))) == (1, False, "", 5)


def test_what_the_bucket_damaged_is_nothing_until_somebody_brings_it_anew(
    blobs: BucketBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(blobs, b"small", tmp_path)
    move(blobs)
    drop_copies(tmp_path)
    blobs.bucket.put_bytes(name_of(SMALL), b"smaul")
    assert (blobs.size(SMALL), blobs.read(SMALL, 0, 10), blobs.size(SMALL)) == (5, b"", None)
    assert list((tmp_path / "blobs" / bucketed.COPIES).rglob("*.draft")) == []
    # What damaged it may stand between us and the bucket, so it is left there, and looked at again.
    assert blobs.bucket.size(name_of(SMALL)) == 5
    put(blobs, b"small", tmp_path)
    assert move(blobs) == ""
    drop_copies(tmp_path)
    assert (blobs.size(SMALL), whole(blobs, SMALL)) == (5, b"small")
    drop_copies(tmp_path)
    monkeypatch.setattr(bucketed, "DAMAGED_S", 0.0)
    blobs.bucket.put_bytes(name_of(SMALL), b"smaul")
    assert blobs.read(SMALL, 0, 10) == b""
    blobs.bucket.put_bytes(name_of(SMALL), b"small")
    assert whole(blobs, SMALL) == b"small"


def test_what_this_disk_damaged_never_gets_to_the_bucket(blobs: BucketBlobs, tmp_path: Path) -> None:
    put(blobs, b"small", tmp_path)
    (tmp_path / "blobs" / SMALL[:2] / SMALL[2:]).write_bytes(b"smaul")
    assert (move(blobs), blobs.waiting, blobs.size(SMALL)) == (SMALL, 0, None)


def test_a_damaged_copy_goes_and_what_the_bucket_has_stays(blobs: BucketBlobs, tmp_path: Path) -> None:
    put(blobs, b"small", tmp_path)
    assert blobs.doubt(SMALL)
    move(blobs)
    (tmp_path / "blobs" / bucketed.COPIES / SMALL[:2] / SMALL[2:]).write_bytes(b"smaul")
    assert not blobs.doubt(SMALL)
    assert whole(blobs, SMALL) == b"small"


def test_age_counts_from_the_last_touch_and_copies_go_when_nobody_reads_them(
    blobs: BucketBlobs, tmp_path: Path
) -> None:
    put(blobs, b"small", tmp_path)
    move(blobs)
    ((_, put_at),) = blobs.all()
    assert abs(time.time() - put_at) < 60
    blobs.touch(SMALL)
    later = put_at + 1_000
    os.utime(tmp_path / "blobs" / bucketed.TOUCHED / SMALL, (later, later))
    assert (list(blobs.all()), blobs.since(SMALL)) == ([(SMALL, later)], later)
    copy = tmp_path / "blobs" / bucketed.COPIES / SMALL[:2] / SMALL[2:]
    blobs.tidy()
    assert copy.exists()
    os.utime(copy, (1, 1))
    blobs.read(SMALL, 0, 1)
    blobs.tidy()
    assert copy.exists()
    os.utime(copy, (1, 1))
    os.utime(tmp_path / "blobs" / bucketed.TOUCHED / SMALL, (1, 1))
    blobs.tidy()
    assert (copy.exists(), blobs.since(SMALL), blobs.size(SMALL)) == (False, 0, 5)


def test_what_is_on_its_way_to_the_bucket_is_not_removed_from_under_it(blobs: BucketBlobs, tmp_path: Path) -> None:
    put(blobs, b"small", tmp_path)

    async def story() -> None:
        moving = asyncio.create_task(blobs.move())
        await asyncio.sleep(0)
        blobs.remove(SMALL)  # It is on its way, and goes another time.
        await moving

    asyncio.run(story())
    assert (blobs.size(SMALL), blobs.bucket.size(name_of(SMALL))) == (5, 5)


def test_where_the_disk_is_nearly_full_nothing_is_copied(
    blobs: BucketBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(blobs, b"small", tmp_path)
    move(blobs)
    monkeypatch.setattr(blobs_module, "ROOM_PERCENT_MIN", 100)
    os.utime(tmp_path / "blobs" / bucketed.COPIES / SMALL[:2] / SMALL[2:], (time.time() - 1,) * 2)
    blobs.tidy()
    with pytest.raises(StoreError, match="disk is nearly full"):
        blobs.read(SMALL, 0, 1)


def test_a_server_that_is_killed_in_the_middle_has_all_of_a_file_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 5 * 1024 * 1024)
    with rclone(tmp_path) as server:
        (tmp_path / "blobs").mkdir()
        blobs = BucketBlobs(tmp_path / "blobs", Bucket(server.where()), OWNER)
        put(blobs, DATA, tmp_path)
        server.kill(signal.SIGSTOP)
        timer = threading.Timer(0.3, server.kill)
        timer.start()
        with pytest.raises(BucketError, match="does not answer"):
            move(blobs)
        timer.join()
        assert (blobs.waiting, whole(blobs, DIGEST)) == (1, DATA)
        begun = time.monotonic()
        with pytest.raises(BucketError, match="does not answer"):
            blobs.size(SMALL)  # Nobody waits for a server that did not answer just now.
        assert time.monotonic() - begun < module.CONNECT_S
        server.start()
        assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []
        assert (move(blobs), blobs.waiting, blobs.bucket.size(name_of(DIGEST))) == ("", 0, len(DATA))


def test_a_server_that_hangs_is_given_up_after_a_while(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_S", 1.5)
    monkeypatch.setattr(module, "AWAY_S", 0.0)
    bucket = Bucket(server.where(prefix=tmp_path.name))
    with server.hanging(), pytest.raises(BucketError, match=f"{server.endpoint} does not answer"):
        bucket.size(name_of(SMALL))
    assert bucket.size(name_of(SMALL)) is None


def ask(bucket: Bucket, how: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"small")
    match how:
        case "put":
            asyncio.run(bucket.put(name_of(SMALL), tmp_path / "file"))
        case "read":
            bucket.read(name_of(SMALL))
        case "size":
            bucket.size(name_of(SMALL))
        case "remove":
            bucket.remove(name_of(SMALL))
        case _:
            list(bucket.all())


@pytest.mark.parametrize("how", ["read", "put", "look"])
def test_a_bucket_that_is_not_there_is_said(server: Server, tmp_path: Path, how: str) -> None:
    bucket = Bucket(server.where(bucket="nobodys"))
    with pytest.raises(BucketError, match="there is no bucket nobodys: make it, or name another one with `--blobs`"):
        ask(bucket, how, tmp_path)


def test_keys_that_are_not_good_are_said(tmp_path: Path) -> None:
    with rclone(tmp_path) as server:
        bucket = Bucket(server.where(secret="wrong"))
        for how in ("size", "remove", "put", "look"):
            with pytest.raises(BucketError, match=r"does not let us .*; look at the keys") as caught:
                ask(bucket, how, tmp_path)
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[default]\naws_access_key_id = x\n", "nonsense", "[other]\naws_access_key_id=x\naws_secret_access_key=y"],
)
def test_a_file_without_keys_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(UsageError, match=r"holds no keys: write `\[default\]`") as caught:
        read_credentials(tmp_path / "keys")
    assert "nonsense" not in str(caught.value)
    with pytest.raises(UsageError, match=r"cannot be read from .*: No such file"):
        read_credentials(tmp_path / "nowhere")


def test_keys_that_last_for_a_while_have_a_token(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b%c\naws_session_token = d\n"
    )
    found = read_credentials(tmp_path / "keys")
    assert found == {"access_key_id": "a", "secret_access_key": "b%c", "session_token": "d"}


def test_without_the_extra_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=f"type `{re.escape(sys.executable)} -m pip install 'obstore>="):
        Bucket(Where(bucket=SMALL))


def test_the_settings_name_the_bucket(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()

    def found(**environ: str) -> Where | None:
        return where_of(load(DispatcherConfig, {}, environ=environ, config_file=tmp_path / "config.toml").value)

    assert found() is None
    assert str(found(SURVEIL_BLOBS="s3://builds")) == "s3://builds"
    where = found(
        SURVEIL_BLOBS="s3://builds/a/b/", SURVEIL_BLOBS_ENDPOINT="https://s3.example.org", SURVEIL_BLOBS_REGION="r"
    )
    assert (str(where), where and where.prefix) == ("s3://builds/a/b at https://s3.example.org", "a/b")
    with pytest.raises(UsageError, match="but not which: name it with `--blobs"):
        found(SURVEIL_BLOBS_REGION="r")
    for wrong in (
        {"SURVEIL_BLOBS": "https://builds"},
        {"SURVEIL_BLOBS": "s3://builds/../other"},
        {"SURVEIL_BLOBS": "s3://b"},
        {"SURVEIL_BLOBS": "s3://builds", "SURVEIL_BLOBS_ENDPOINT": "http://s3.example.org"},
    ):
        with pytest.raises(SurveilError, match=r"is not a bucket like|use https"):
            found(**wrong)
