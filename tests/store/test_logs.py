"""The log store: what is acknowledged is there, byte for byte; what is not as it was is said to be so."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from surveil.store import FullError, StoreError
from surveil.store.log_chunks import CHUNK_BYTES_MAX, SLOT_BYTES
from surveil.store.log_live import DATA, INDEX, LiveReader, LogSlice
from surveil.store.log_packed import BLOCK_BYTES, SUFFIX
from surveil.store.log_paths import log_stem
from surveil.store.logs import LOG_BYTES_MAX, READ_BYTES_MAX, LogClosed, LogRefused, LogStore, read_log
from tests.platter import Platter

JOB = "7/test"


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[LogStore]:
    store = LogStore(tmp_path)
    yield store
    store.close()


def logs_root(logs: LogStore) -> Path:
    return logs._root  # noqa: SLF001  # The fixture's own folder.


def put(logs: LogStore, at: int, data: bytes, *, job: str = JOB, attempt: int = 1, after_ms: int = 0) -> int:
    return logs.append(job, attempt, at, data, crc=crc32(data), after_ms=after_ms)


def whole(logs: LogStore, job: str = JOB, attempt: int = 1) -> bytes:
    """The log, read to its end in pieces."""
    body = b""
    while True:
        piece = logs.read(job, attempt, len(body), READ_BYTES_MAX)
        assert not piece.damaged
        if not piece.data:
            return body
        body += piece.data


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def text(size: int) -> bytes:
    """As many bytes of lines that differ."""
    return b"".join(b"%d: something was done\n" % n for n in range(size // 20 + 1))[:size]


def test_what_was_appended_is_read_back_from_any_offset(logs: LogStore) -> None:
    assert put(logs, 0, b"hello ") == 6
    assert put(logs, 6, b"world\n") == 12
    assert logs.flush() == {(JOB, 1): 12}
    assert logs.read(JOB, 1, 0, 100) == LogSlice(at=0, data=b"hello world\n", length=12)
    assert logs.read(JOB, 1, 3, 5) == LogSlice(at=3, data=b"lo wo", length=12)
    assert logs.read(JOB, 1, 12, 5) == LogSlice(at=12, data=b"", length=12)
    assert logs.read(JOB, 1, 99, 5) == LogSlice(at=99, data=b"", length=12)
    assert logs.length(JOB, 1) == 12
    assert logs.flush() == {}


def test_a_log_that_nobody_wrote_is_empty(logs: LogStore, tmp_path: Path) -> None:
    assert logs.read(JOB, 1, 0, 100) == LogSlice(at=0, data=b"", length=0)
    assert logs.tail(JOB, 1, lines=5) == LogSlice(at=0, data=b"", length=0)
    assert logs.finish(JOB, 1, 0)
    assert not logs.finish(JOB, 1, 1)
    assert files(tmp_path) == []


def test_nothing_is_acknowledged_before_it_is_durable(logs: LogStore) -> None:
    put(logs, 0, b"one")
    assert logs.length(JOB, 1) == 0
    assert logs.flush() == {(JOB, 1): 3}
    put(logs, 3, b"two")
    put(logs, 0, b"other", job="8/x", attempt=4)
    assert logs.read(JOB, 1, 0, 9).data == b"one"
    assert logs.flush() == {(JOB, 1): 6, ("8/x", 4): 5}


def test_bytes_that_come_again_are_trimmed_and_acknowledged_again(logs: LogStore) -> None:
    put(logs, 0, b"abcdef")
    logs.flush()
    assert put(logs, 2, b"cd") == 6
    assert logs.flush() == {(JOB, 1): 6}
    assert put(logs, 4, b"efgh") == 8
    assert put(logs, 0, b"abcdefghi") == 9
    assert logs.flush() == {(JOB, 1): 9}
    assert whole(logs) == b"abcdefghi"


def test_bytes_after_a_gap_are_not_taken_and_the_answer_says_where_to_go_on(logs: LogStore) -> None:
    put(logs, 0, b"abc")
    logs.flush()
    assert put(logs, 5, b"fgh") == 3
    assert put(logs, 9, b"xyz", job="8/x") == 0
    assert logs.flush() == {(JOB, 1): 3, ("8/x", 1): 0}
    assert whole(logs) == b"abc"


def test_bytes_without_their_checksum_are_refused(logs: LogStore) -> None:
    put(logs, 0, b"abc")
    with pytest.raises(LogRefused, match="7/test attempt 1"):
        logs.append(JOB, 1, 3, b"def", crc=crc32(b"dez"), after_ms=0)
    logs.flush()
    assert whole(logs) == b"abc"


def test_a_log_has_an_end(logs: LogStore) -> None:
    with pytest.raises(LogRefused, match="longer than"):
        put(logs, LOG_BYTES_MAX, b"x")
    assert logs.flush() == {}


def test_chunks_of_any_size_are_taken(logs: LogStore) -> None:
    body = text(3 * CHUNK_BYTES_MAX + 17)
    put(logs, 0, body)
    put(logs, len(body) - 5, body[-5:] + body)
    logs.flush()
    assert whole(logs) == body + body


def test_attempts_do_not_touch_each_other(logs: LogStore) -> None:
    names = [f"{build}/{name}" for build in (1, 10, 1001, 2_001_001) for name in ("a", "b", "a.1", "A")]
    for name in names:
        for attempt in (1, 2):
            put(logs, 0, f"{name} {attempt}".encode(), job=name, attempt=attempt)
    logs.flush()
    for name in names:
        for attempt in (1, 2):
            assert whole(logs, name, attempt) == f"{name} {attempt}".encode()


def test_few_files_are_open_at_a_time_and_none_loses_a_byte(tmp_path: Path) -> None:
    logs = LogStore(tmp_path, open_max=2, unflushed_bytes_max=50)
    bodies = {f"{n}/j": b"" for n in range(1, 7)}
    for turn in range(12):
        for job, body in list(bodies.items()):
            piece = f"{turn} of {job}\n".encode()
            put(logs, len(body), piece, job=job)
            bodies[job] += piece
    assert logs.flush() == {(job, 1): len(body) for job, body in bodies.items()}
    logs.close()
    logs.close()
    again = LogStore(tmp_path)
    assert {job: whole(again, job) for job in bodies} == bodies
    again.close()


def test_a_full_disk_leaves_the_log_as_it_was(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(logs, 0, b"before")
    logs.flush()

    def full(_handle: int, _data: object, _at: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("surveil.store.log_live.os.pwrite", full)
        with pytest.raises(StoreError, match="No space left"):
            put(logs, 6, b"more")
    assert put(logs, 6, b" after") == 12
    assert logs.flush() == {(JOB, 1): 12}
    assert whole(logs) == b"before after"


def test_what_is_acknowledged_is_on_the_platter_its_bytes_before_what_vouches_for_them(
    logs: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = log_stem(logs_root(logs), JOB, 1)
    data, index = stem.with_name(stem.name + DATA), stem.with_name(stem.name + INDEX)
    platter = Platter(monkeypatch)
    put(logs, 0, b"first\n")
    assert logs.flush() == {(JOB, 1): 6}
    assert platter.has(data)
    assert platter.has(index)
    folders = [data.parent, *data.parent.parents]
    assert all(platter.has_name(folder) for folder in folders[: folders.index(logs_root(logs))])
    platter.order.clear()
    put(logs, 6, b"second\n")
    logs.flush()
    assert platter.order == [data.name, index.name]
    assert platter.has(data)
    assert platter.has(index)


def test_a_compressed_log_is_on_the_platter_before_the_live_one_goes(
    logs: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    platter = Platter(monkeypatch)
    put(logs, 0, b"all of it\n")
    logs.flush()
    gone: list[bool] = []
    stem = log_stem(logs_root(logs), JOB, 1)
    packed = stem.with_name(stem.name + SUFFIX)
    unlink = Path.unlink

    def watched(path: Path, *, missing_ok: bool = False) -> None:
        gone.append(platter.has(packed))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    assert logs.finish(JOB, 1, 10)
    assert gone == [True, True]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_disk_that_is_full_only_when_the_log_is_to_last_says_so_until_the_log_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    logs = LogStore(tmp_path)
    put(logs, 0, b"before")
    assert logs.flush() == {(JOB, 1): 6}
    put(logs, 6, b" after")
    with monkeypatch.context() as patch:
        patch.setattr(f"surveil.store.log_live.os.{call}", full)
        with pytest.raises(FullError, match="No space left"):
            logs.flush()
    # What was not acknowledged may or may not be there by now, so there is no going on.
    with pytest.raises(FullError, match="No space left"):
        logs.flush()
    logs.close()
    again = LogStore(tmp_path)
    length = again.length(JOB, 1)
    assert length in {6, 12}
    put(again, length, b" after"[length - 6 :])
    assert again.flush() == ({(JOB, 1): 12} if length == 6 else {})
    assert whole(again) == b"before after"
    again.close()


def test_a_failing_disk_acknowledges_nothing(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(logs, 0, b"before")

    def failing(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("surveil.store.log_live.os.fdatasync", failing)
        with pytest.raises(StoreError, match="Input/output error"):
            logs.flush()
    assert logs.length(JOB, 1) == 0


# ---- crashes -------------------------------------------------------------------------------------------------


def three_flushes(root: Path) -> tuple[bytes, list[int], Path]:
    """A log of three flushes: its bytes, the ends that were acknowledged, and its path."""
    logs, body, ends = LogStore(root), b"", []
    for piece in (b"first\n", b"second, which is longer\n", b"third"):
        put(logs, len(body), piece)
        body += piece
        ends.append(logs.flush()[JOB, 1])
    logs.close()
    return body, ends, log_stem(root, JOB, 1)


def continues(root: Path, body: bytes) -> int:
    """Open the store again, say everything again, and return where it had gone on from."""
    logs = LogStore(root)
    at = put(logs, len(body) + 1, b"x")
    kept = logs.flush()[JOB, 1]
    assert kept == at
    assert whole(logs) == body[:at]
    put(logs, 0, body)
    put(logs, len(body), b" and on\n")
    logs.flush()
    assert whole(logs) == body + b" and on\n"
    logs.close()
    return at


def test_an_index_cut_anywhere_goes_back_to_the_last_whole_chunk(tmp_path: Path) -> None:
    body, ends, stem = three_flushes(tmp_path / "whole")
    size = stem.with_name(stem.name + ".idx").stat().st_size
    assert size == 3 * SLOT_BYTES
    for cut in range(size + 1):
        root = tmp_path / f"cut{cut}"
        shutil.copytree(tmp_path / "whole", root)
        path = log_stem(root, JOB, 1)
        with path.with_name(path.name + ".idx").open("r+b") as index:
            index.truncate(cut)
        assert continues(root, body) == [0, *ends][cut // SLOT_BYTES]


def test_bytes_that_no_slot_vouches_for_are_cut_off(tmp_path: Path) -> None:
    body, ends, stem = three_flushes(tmp_path)
    with stem.with_name(stem.name + ".log").open("ab") as log:
        log.write(b"written, and never durable")
    assert continues(tmp_path, body) == ends[-1]


@pytest.mark.parametrize("torn", [1, 2])
def test_slots_that_a_loss_of_power_left_as_zeros_end_the_log(tmp_path: Path, torn: int) -> None:
    logs = LogStore(tmp_path)
    put(logs, 0, b"durable")
    logs.flush()
    body = b"durable" + bytes(3 * CHUNK_BYTES_MAX)
    put(logs, 7, body[7:])
    logs.close()
    stem = log_stem(tmp_path, JOB, 1)
    with stem.with_name(stem.name + ".idx").open("r+b") as index:
        index.seek((1 + torn) * SLOT_BYTES)
        index.write(bytes(SLOT_BYTES))
    assert continues(tmp_path, body) == 7 + torn * CHUNK_BYTES_MAX


def test_bytes_that_are_gone_although_durable_are_called_damaged(tmp_path: Path) -> None:
    body, _, stem = three_flushes(tmp_path)
    path = stem.with_name(stem.name + ".log")
    for size in range(len(body) - 1, -1, -1):
        with path.open("r+b") as log:
            log.truncate(size)
        assert read_log(stem, 0, 100) == LogSlice(
            at=0, data=body[:size].ljust(len(body), b"\0"), length=len(body), damaged=True
        )
    logs = LogStore(tmp_path)
    assert put(logs, len(body), b" more") == len(body) + 5
    logs.flush()
    assert logs.read(JOB, 1, len(body), 9) == LogSlice(at=len(body), data=b" more", length=len(body) + 5)
    assert logs.read(JOB, 1, 0, 9).damaged
    assert not logs.finish(JOB, 1, None)
    assert files(tmp_path) == ["test.1.idx", "test.1.log"]
    logs.close()


@pytest.mark.parametrize("suffix", [".log", ".idx", ".logz"])
def test_no_flipped_bit_is_ever_silent(tmp_path: Path, suffix: str) -> None:
    body, _, stem = three_flushes(tmp_path)
    if suffix == ".logz":
        logs = LogStore(tmp_path)
        assert logs.finish(JOB, 1, len(body))
        logs.close()
    path = stem.with_name(stem.name + suffix)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        found = read_log(stem, 0, 100)
        # A damaged clock of a packed log leaves the bytes as they were, but its table is not trusted.
        assert found.damaged, f"byte {at} of {suffix}"
        assert found.data in {b"", bytes(len(body))} or len(found.data) == len(body)


def test_a_packed_log_cut_anywhere_is_called_damaged(tmp_path: Path) -> None:
    body, _, stem = three_flushes(tmp_path)
    logs = LogStore(tmp_path)
    assert logs.finish(JOB, 1, len(body))
    path = stem.with_name(stem.name + ".logz")
    for size in range(path.stat().st_size - 1, -1, -1):
        with path.open("r+b") as log:
            log.truncate(size)
        assert read_log(stem, 0, 100).damaged
        with pytest.raises(LogRefused, match="damaged"):
            put(logs, 0, b"x")
    logs.close()


def test_lines_that_came_one_by_one_are_read_at_once(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        put(logs, number * 5, b"line\n")
        logs.flush()
    looks: list[tuple[int, int]] = []
    raw = LiveReader.raw

    def noted(self: LiveReader, start: int, stop: int) -> bytes:
        looks.append((start, stop))
        return raw(self, start, stop)

    monkeypatch.setattr(LiveReader, "raw", noted)
    assert logs.read(JOB, 1, 7, 200) == LogSlice(at=7, data=(b"line\n" * 60)[7:207], length=300)
    # Of a chunk all is read, as its sum is of all of it.
    assert looks == [(5, 210)]


def test_a_damaged_slot_in_the_middle_loses_nothing_and_is_called_damaged(tmp_path: Path) -> None:
    body, ends, stem = three_flushes(tmp_path)
    with stem.with_name(stem.name + ".idx").open("r+b") as index:
        index.seek(SLOT_BYTES)
        index.write(b"?" * SLOT_BYTES)
    logs = LogStore(tmp_path)
    assert put(logs, len(body), b" more") == len(body) + 5
    logs.flush()
    assert logs.read(JOB, 1, 0, 100) == LogSlice(at=0, data=body + b" more", length=len(body) + 5, damaged=True)
    assert logs.read(JOB, 1, 0, ends[0]) == LogSlice(at=0, data=body[: ends[0]], length=len(body) + 5)
    assert logs.read(JOB, 1, ends[1], 100) == LogSlice(
        at=ends[1], data=body[ends[1] :] + b" more", length=len(body) + 5
    )
    logs.close()


WRITER = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32
from surveil.store.logs import LogStore

logs = LogStore(Path(sys.argv[1]))
at = {job: logs.length(job, 1) for job in ("1/a", "2/b")}
while True:
    for job in at:
        data = b"".join(b"%d\\n" % (at[job] + 10 * n) for n in range(50))
        data = b"".join(b"%09d\\n" % (at[job] + 10 * n) for n in range(50))
        at[job] = logs.append(job, 1, at[job], data, crc=crc32(data), after_ms=0)
    for (job, _), upto in logs.flush().items():
        print(job, upto, flush=True)
"""


def test_what_was_acknowledged_survives_being_killed(tmp_path: Path) -> None:
    kept = {"1/a": 0, "2/b": 0}
    for turn in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(5 + 9 * turn)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().split("\n")[:-1]
        writer.wait(30)
        writer.stdout.close()
        for line in lines:
            job, said = line.split()
            kept[job] = int(said)
        logs = LogStore(tmp_path)
        for job, upto in kept.items():
            body = whole(logs, job)
            assert len(body) >= upto
            assert body == b"".join(b"%09d\n" % at for at in range(0, len(body), 10))
        logs.close()


# ---- finished logs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 7])
def test_a_finished_log_is_smaller_and_the_same(logs: LogStore, tmp_path: Path, size: int) -> None:
    body = text(size)
    for at in range(0, size, 100_000):
        put(logs, at, body[at : at + 100_000], after_ms=at)
    logs.flush()
    assert not logs.finish(JOB, 1, size + 1)
    assert logs.finish(JOB, 1, size)
    assert logs.finish(JOB, 1, size)
    assert files(tmp_path) == (["test.1.logz"] if size else [])
    assert whole(logs) == body
    for at in {0, 1, size // 2, max(0, size - 1), size, size + 9}:
        assert logs.read(JOB, 1, at, 300_000) == LogSlice(at=at, data=body[at : at + 300_000], length=size)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.logz"))
    assert stored <= size / 3 + 200


def test_a_finished_log_takes_nothing_more_and_says_so(logs: LogStore) -> None:
    put(logs, 0, b"all of it")
    assert logs.finish(JOB, 1, 9)
    with pytest.raises(LogClosed, match="closed at byte 9"):
        put(logs, 9, b" and more")
    assert put(logs, 11, b"after a gap") == 9
    assert put(logs, 0, b"all of") == 9
    assert logs.flush() == {(JOB, 1): 9}
    assert whole(logs) == b"all of it"


def test_a_log_that_lacks_bytes_is_finished_when_nobody_will_send_them(logs: LogStore, tmp_path: Path) -> None:
    put(logs, 0, b"up to the power cut")
    assert not logs.finish(JOB, 1, 99)
    assert files(tmp_path) == ["test.1.idx", "test.1.log"]
    put(logs, 19, b".")
    assert logs.finish(JOB, 1, None)
    assert whole(logs) == b"up to the power cut."


def test_a_finished_log_that_is_opened_again_goes_on_where_it_ended(logs: LogStore, tmp_path: Path) -> None:
    body, _, _ = three_flushes(tmp_path / "other")
    other = LogStore(tmp_path / "other")
    assert other.finish(JOB, 1, None)
    other.reopen(JOB, 1)
    other.reopen(JOB, 1)  # Once more does no harm.
    assert files(tmp_path / "other") == ["test.1.idx", "test.1.log"]
    assert other.read(JOB, 1, 0, 2**20).data == body
    assert put(other, len(body) - 1, b"?more", after_ms=77) == len(body) + 4
    other.flush()
    other.close()
    again = LogStore(tmp_path / "other")
    assert again.read(JOB, 1, 0, 2**20).data == body + b"more"
    assert again.finish(JOB, 1, len(body) + 4)
    assert files(tmp_path / "other") == ["test.1.logz"]
    assert again.read(JOB, 1, 0, 2**20).data == body + b"more"
    again.close()
    logs.reopen("9/never", 1)  # There is none, and there is none afterwards.
    assert logs.length("9/never", 1) == 0


def test_the_times_of_a_log_outlive_its_being_closed_and_opened_again(logs: LogStore, tmp_path: Path) -> None:
    for at, after_ms in ((0, 5), (300_000, 70), (600_000, 900)):
        put(logs, at, bytes(300_000), after_ms=after_ms)
        logs.flush()
    stem = log_stem(tmp_path, JOB, 1)

    def chunks() -> list[tuple[int, int]]:
        with closing(LiveReader(stem)) as live:
            return [(chunk.at, chunk.after_ms) for chunk in live.slots.from_slot(0) if chunk is not None]

    before = chunks()
    assert len(before) > 3
    assert logs.finish(JOB, 1, 900_000)
    logs.reopen(JOB, 1)
    assert chunks() == before


def test_a_damaged_finished_log_is_not_opened_again(logs: LogStore, tmp_path: Path) -> None:
    put(logs, 0, os.urandom(5_000))
    assert logs.finish(JOB, 1, 5_000)
    path = log_stem(tmp_path, JOB, 1)
    path = path.with_name(path.name + SUFFIX)
    body = bytearray(path.read_bytes())
    body[2_000] ^= 1
    path.write_bytes(body)
    with pytest.raises(LogRefused, match="damaged on disk"):
        logs.reopen(JOB, 1)
    assert path.read_bytes() == bytes(body)


def test_the_logs_that_are_not_finished_are_found(logs: LogStore, tmp_path: Path) -> None:
    assert list(logs.builds_at_work()) == []
    put(logs, 0, b"done")
    assert logs.finish(JOB, 1, 4)
    logs.append("1234567/x", 2, 0, b"open", crc=crc32(b"open"), after_ms=0)
    (tmp_path / "stray.log").write_bytes(b"")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "d.1.log").write_bytes(b"")
    assert list(logs.builds_at_work()) == [1234567]
    assert (logs.at_work("1234567/x", 2), logs.at_work("1234567/x", 1), logs.at_work(JOB, 1)) == (True, False, False)


def copies_of(root: Path) -> Callable[[str], Path]:
    """Make the folder as a crash in the middle of `finish` leaves it, by the names of the files that are there."""
    body, _, _ = three_flushes(root / "live")
    shutil.copytree(root / "live", root / "packed")
    logs = LogStore(root / "packed")
    assert logs.finish(JOB, 1, len(body))
    logs.close()

    def make(names: str) -> Path:
        made = root / names.replace(" ", "-")
        for name in names.split():
            source = log_stem(root / ("packed" if name.startswith("logz") else "live"), JOB, 1)
            target = log_stem(made, JOB, 1)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source.with_name(f"{source.name}.{name.removesuffix('.part')}").read_bytes()
            half = content[: len(content) // 2] if name.endswith(".part") else content
            target.with_name(f"{target.name}.{name}").write_bytes(half)
        return made

    return make


@pytest.mark.parametrize("left", ["log idx", "log idx logz.part", "log idx logz", "log logz", "logz"])
def test_a_crash_anywhere_in_finishing_leaves_one_good_copy(tmp_path: Path, left: str) -> None:
    root = copies_of(tmp_path)(left)
    logs = LogStore(root)
    body = b"first\nsecond, which is longer\nthird"
    assert whole(logs) == body
    assert logs.finish(JOB, 1, len(body))
    assert whole(logs) == body
    assert files(root) == ["test.1.logz"]
    logs.close()


def test_a_full_disk_while_finishing_leaves_the_log(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(logs, 0, b"abc")
    logs.flush()

    def failing(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("surveil.store.log_packed.os.fsync", failing)
        with pytest.raises(StoreError, match="No space left"):
            logs.finish(JOB, 1, 3)
    assert whole(logs) == b"abc"
    assert put(logs, 3, b"d") == 4
    assert logs.finish(JOB, 1, 4)
    assert whole(logs) == b"abcd"


def test_a_log_is_read_while_it_is_written_and_finished(logs: LogStore) -> None:
    wrong: list[bytes] = []
    stop = threading.Event()
    body = text(400_000)

    def look() -> None:
        while not stop.is_set():
            found = logs.read(JOB, 1, 0, READ_BYTES_MAX)
            if found.damaged or found.data != body[: found.length]:
                wrong.append(found.data)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for at in range(0, len(body), 5000):
        put(logs, at, body[at : at + 5000])
        logs.flush()
    assert logs.finish(JOB, 1, len(body))
    stop.set()
    for reader in readers:
        reader.join(30)
    assert wrong == []


# ---- the end first -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    body=st.text(alphabet="ab\n", max_size=60).map(str.encode),
    lines=st.integers(0, 9),
    limit=st.integers(0, 70),
    upto=st.none() | st.integers(0, 70),
    packed=st.booleans(),
)
def test_the_tail_is_the_last_lines(body: bytes, lines: int, limit: int, upto: int | None, packed: bool) -> None:
    with TemporaryDirectory() as folder:
        check_tail(LogStore(Path(folder)), body, (lines, limit, upto), packed=packed)


def check_tail(logs: LogStore, body: bytes, asked: tuple[int, int, int | None], *, packed: bool) -> None:
    lines, limit, upto = asked
    put(logs, 0, body)
    logs.flush()
    if packed:
        assert logs.finish(JOB, 1, len(body))
    before = body if upto is None else body[:upto]
    wanted = b"".join(before.splitlines(keepends=True)[-lines:]) if lines else b""
    # Lines that do not fit into the limit lose their beginning.
    wanted = wanted[-limit:] if limit else b""
    found = logs.tail(JOB, 1, lines=lines, upto=upto, limit=limit)
    assert found == LogSlice(at=len(before) - len(wanted), data=wanted, length=len(body))
    logs.close()


def test_the_tail_of_a_long_log_reads_only_its_end(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    body = text(2_000_000)
    put(logs, 0, body)
    logs.flush()
    seen: list[int] = []
    read = logs.read

    def counting(job: str, attempt: int, at: int, limit: int) -> LogSlice:
        seen.append(limit)
        return read(job, attempt, at, limit)

    monkeypatch.setattr(logs, "read", counting)
    found = logs.tail(JOB, 1, lines=3)
    assert found.data == b"".join(body.splitlines(keepends=True)[-3:])
    assert sum(seen) <= 64 * 1024


def test_one_endless_line_is_bounded(logs: LogStore) -> None:
    body = b"x" * (2 * READ_BYTES_MAX)
    put(logs, 0, body)
    logs.flush()
    assert logs.tail(JOB, 1, lines=3) == LogSlice(at=READ_BYTES_MAX, data=body[READ_BYTES_MAX:], length=len(body))
    assert len(logs.read(JOB, 1, 0, 99 * READ_BYTES_MAX).data) == READ_BYTES_MAX


# ---- names ---------------------------------------------------------------------------------------------------

NAMES = [
    "test",
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a b",
    "-rf",
    "~",
    "a~b",
    "CON",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "x" * 255,
    "x" * 60,
    "x" * 61,
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp",
    "test (3.12)",
    "test.1",
    ".hidden",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_job_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    stem = log_stem(tmp_path, f"12345678/{name}", 3)
    assert stem.parent == tmp_path / "12" / "345" / "678"
    assert "/" not in stem.name
    assert not stem.name.startswith((".", "-"))
    assert stem.name.endswith(".3")
    assert len(stem.name.encode()) < 120
    stem.name.encode("ascii")


def test_different_jobs_have_different_logs(tmp_path: Path) -> None:
    stems = {log_stem(tmp_path, f"1/{name}", attempt) for name in NAMES for attempt in (1, 11)}
    assert len(stems) == 2 * len(NAMES)


# ---- anything in any order -----------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """A runner that repeats and skips, a dispatcher that crashes, and a file in memory to compare with."""

    folder: Path

    @initialize()
    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.logs = LogStore(self.folder, open_max=1)
        self.truth = bytes(range(256)) * 8
        self.end = {JOB: 0, "8/x": 0}
        self.kept = {JOB: 0, "8/x": 0}
        self.finished: set[str] = set()

    @rule(job=st.sampled_from([JOB, "8/x"]), at=st.integers(0, 2000), size=st.integers(0, 700))
    def append(self, job: str, at: int, size: int) -> None:
        at = min(at, self.end[job] + 3)
        data = self.truth[at : at + size]
        if job in self.finished and at <= self.end[job] < at + len(data):
            with pytest.raises(LogClosed):
                put(self.logs, at, data, job=job)
            return
        if job not in self.finished and at <= self.end[job]:
            self.end[job] = max(self.end[job], at + len(data))
        assert put(self.logs, at, data, job=job) == self.end[job]

    @rule()
    def flush(self) -> None:
        for (job, _), upto in self.logs.flush().items():
            assert self.kept[job] <= upto <= self.end[job]
        self.kept = dict(self.end)

    @rule(job=st.sampled_from([JOB, "8/x"]))
    def finish(self, job: str) -> None:
        assert not self.logs.finish(job, 1, self.end[job] + 1)
        if self.logs.finish(job, 1, self.end[job]) and self.end[job]:
            self.finished.add(job)
            self.kept[job] = self.end[job]

    @rule()
    def crash(self) -> None:
        for log in self.logs._open.values():  # noqa: SLF001  # descriptors go with the process, without a flush
            log.close()
        self.logs._open.clear()  # noqa: SLF001
        self.logs._pool.shutdown()  # noqa: SLF001
        self.logs = LogStore(self.folder, open_max=1)
        for job, kept in self.kept.items():
            # What an eviction made durable may be there as well.
            assert kept <= self.logs.length(job, 1) <= self.end[job]
            self.end[job] = self.kept[job] = self.logs.length(job, 1)

    @invariant()
    def what_is_there_is_true(self) -> None:
        if hasattr(self, "logs"):
            for job, kept in self.kept.items():
                body = whole(self.logs, job)
                assert len(body) >= kept
                assert body == self.truth[: len(body)]

    def teardown(self) -> None:
        if hasattr(self, "logs"):
            self.logs.close()


def test_a_log_is_always_a_prefix_of_what_the_runner_has(tmp_path: Path) -> None:
    class Machine(AnyOrder):
        folder = tmp_path / "logs"

    run_state_machine_as_test(Machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))
