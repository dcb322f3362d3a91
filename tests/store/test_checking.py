"""`check` finds what is wrong, and only that; `backup` makes a copy that is as good as the original."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from surveil.core.model import AttemptState, Job, Status
from surveil.errors import InvalidError
from surveil.store import StoreError, acts
from surveil.store.backup import backup
from surveil.store.checking import Report, check
from surveil.store.log_paths import log_stem
from surveil.store.logs import LogStore
from surveil.store.sqlite import ATTEMPTS_SKIPPED, BUILDS_SKIPPED, FILE, open_store
from tests.store.records import make_attempt, make_build, make_job, new
from tests.store.rewriting import rewrite

BODY = b"all went well\n" * 100


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder that holds a passed build, a running one and a queued one, with logs in both forms."""
    folder = tmp_path / "data"
    store = open_store(folder, now=1)
    store.commit(
        new(
            make_build(1, state=Status.PASSED),
            make_job(1, state=Status.PASSED, attempt=2),
            make_attempt(1, number=1, state=AttemptState.LOST),
            make_attempt(1, number=2, state=AttemptState.PASSED),
            make_build(2, state=Status.RUNNING),
            make_job(2, state=Status.RUNNING, attempt=1),
            make_attempt(2, state=AttemptState.RUNNING),
            make_build(3),
            make_job(3),
        )
    )
    logs = LogStore(folder / "logs")
    for job, attempt in (("1/test", 2), ("2/test", 1)):
        logs.append(job, attempt, 0, BODY, crc=crc32(BODY), after_ms=0)
    logs.flush()
    assert logs.finish("1/test", 2, len(BODY))
    (folder / "keys").mkdir(mode=0o700)
    (folder / "keys" / "server.key").write_text("secret")
    (folder / "keys" / "server.key").chmod(0o600)
    yield folder
    logs.close()
    store.close()


SOUND = Report(problems=(), builds=3, jobs=3, attempts=3, logs=2, log_bytes=2 * len(BODY))


def test_a_sound_folder_has_no_problems(data: Path) -> None:
    assert check(data) == SOUND
    assert check(data).sound


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE jobs SET state = 'queued' WHERE build = 2",
            "attempt 1 at job 2/test is open, while the job is queued",
        ),
        ("UPDATE jobs SET attempt = 2 WHERE build = 2", "job 2/test is running without an open attempt 2"),
        ("UPDATE attempts SET state = 'lost' WHERE build = 2", "job 2/test is running without an open attempt 1"),
        ("UPDATE attempts SET state = 'failed' WHERE number = 2", "job 1/test passed, while its attempt 2 did not"),
        ("UPDATE attempts SET state = 'running'", "job 1/test has 2 open attempts at once"),
        ("UPDATE builds SET state = 'passed' WHERE id = 3", "job 3/test is queued, while its build is passed"),
        ("DELETE FROM builds WHERE id = 3", "job 3/test belongs to no build"),
        ("DELETE FROM jobs WHERE build = 2", "attempt 1 at job 2/test belongs to no job"),
        ("DELETE FROM specs", "job 1/test has lost its spec"),
    ],
)
def test_facts_that_contradict_each_other_are_named(data: Path, change: str, said: str) -> None:
    rewrite(data / FILE, change)
    report = check(data)
    assert not report.sound
    assert [problem for problem in report.problems if problem.startswith(said)]


@pytest.mark.parametrize(
    ("job", "attempt", "suffix", "said"),
    [
        ("1/test", 2, ".logz", "0/000/001/test.2.logz has 1 damaged blocks"),
        ("2/test", 1, ".log", "0/000/002/test.1.log has 1 damaged chunks"),
        ("2/test", 1, ".idx", "0/000/002/test.1.log has 1 damaged chunks"),
    ],
)
def test_a_damaged_log_is_named(data: Path, job: str, attempt: int, suffix: str, said: str) -> None:
    stem = log_stem(data / "logs", job, attempt)
    path = stem.with_name(stem.name + suffix)
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    assert check(data).problems == (f"the log {said}",)


def test_damaged_pages_are_named_and_never_served(data: Path) -> None:
    copy = data.parent / "copy"
    backup(data, copy, now=1)
    pages = bytearray((copy / FILE).read_bytes())
    for at in range(4096 * 2, len(pages), 4096):
        pages[at : at + 64] = b"\xa5" * 64
    (copy / FILE).write_bytes(pages)
    assert complaints(copy)


def complaints(data: Path) -> tuple[str, ...]:
    """What is wrong, in whichever way it is said."""
    try:
        return check(data).problems
    except (StoreError, InvalidError) as error:
        return (str(error),)


def test_there_is_nothing_to_check_in_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no database"):
        check(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_is_sound_and_private_and_starts(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "deep" / "copy"
    copied = backup(data, copy, now=5)
    assert copied.logs == 2
    assert copied.log_bytes == sum(path.stat().st_size for path in files_of(copy / "logs"))
    assert check(copy) == SOUND
    assert (copy / "keys" / "server.key").read_text() == "secret"
    assert {path.stat().st_mode & 0o077 for path in (copy, *files_of(copy))} == {0}
    original = open_store_of(data)
    restored = open_store(copy, now=9_000_000)
    records, next_build = restored.load()
    assert next_build == 4 + BUILDS_SKIPPED
    later = [
        replace(each, attempt=each.attempt + ATTEMPTS_SKIPPED) if isinstance(each, Job) else each
        for each in original[0]
    ]
    assert records == later, "all jobs of open builds go on with numbers that nobody heard of"
    assert restored.cluster.epoch == 9000
    logs = LogStore(copy / "logs")
    assert logs.read("1/test", 2, 0, 99_999).data == BODY
    assert logs.append("2/test", 1, len(BODY), b"x", crc=crc32(b"x"), after_ms=0) == len(BODY) + 1
    logs.close()
    restored.close()


def test_a_backup_knows_the_observer_and_the_runners_of_up_but_not_their_work(data: Path, tmp_path: Path) -> None:
    kept = {
        "observer/keys/observer.key", "observer/dispatcher.json", "observer/joined", "observer/refs/1.json",
        "runners/local-1/keys/runner.key", "runners/local-1/dispatcher.json", "runners/local-1/joined",
        "runners/local-1/identity.json",
    }  # fmt: skip
    left = {
        "observer/refs/.1.json.draft", "observer/mirrors/a/HEAD", "runners/local-1/workspaces/1/file",
        "runners/local-1/attempts/1/order.json", "up.log",
    }  # fmt: skip
    for name in kept | left:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o600)
    backup(data, tmp_path / "copy", now=5)
    names = {str(path.relative_to(tmp_path / "copy")) for path in files_of(tmp_path / "copy")}
    assert {name for name in names if not name.startswith(("logs/", "keys/", FILE, acts.FILE))} == kept
    assert all((tmp_path / "copy" / name).read_text() == name for name in kept)
    assert {(tmp_path / "copy" / name).stat().st_mode & 0o077 for name in kept} == {0}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def open_store_of(data: Path) -> tuple[list[object], int]:
    """What the running dispatcher would load, read through a plain copy of its files."""
    twin = data.parent / "twin"
    twin.mkdir()
    for name in (FILE, FILE + "-wal"):
        shutil.copyfile(data / name, twin / name)
    store = open_store(twin, now=1)
    found = store.load()
    store.close()
    return list(found[0]), found[1]


def test_a_backup_goes_where_nothing_is(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    backup(data, tmp_path / "empty", now=1)
    assert check(tmp_path / "empty") == SOUND
    with pytest.raises(InvalidError, match="exists already"):
        backup(data, tmp_path / "empty", now=1)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidError, match="exists already"):
        backup(data, tmp_path / "file", now=1)
    assert (tmp_path / "file").read_text() == "mine"
    assert check(tmp_path / "empty") == SOUND


def test_a_backup_that_fails_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("surveil.store.backup.shutil.copyfile", full)
    with pytest.raises(StoreError, match="No space left"):
        backup(data, tmp_path / "copy", now=1)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_backup_while_others_write_is_one_moment(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store, logs = open_store(data, now=1), LogStore(data / "logs")
    stop, done = threading.Event(), threading.Event()

    def write() -> None:
        build = 0
        while not stop.is_set() and build < 3000:
            build += 1
            store.commit(
                new(
                    make_build(build, state=Status.RUNNING),
                    make_job(build, state=Status.RUNNING, attempt=1),
                    make_attempt(build, state=AttemptState.RUNNING),
                )
            )
            logs.append(f"{build % 7 + 1}/test", 1, 0, BODY, crc=crc32(BODY), after_ms=0)
            logs.append(f"{build}/test", 1, 0, BODY, crc=crc32(BODY), after_ms=0)
            logs.flush()
            if build % 3 == 0:
                logs.finish(f"{build}/test", 1, len(BODY))
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert done.wait(30)
    seen = []
    for turn in range(4):
        backup(data, tmp_path / f"copy{turn}", now=1)
        seen.append(check(tmp_path / f"copy{turn}"))
    stop.set()
    writer.join(30)
    logs.close()
    store.close()
    assert [report.problems for report in seen] == [()] * 4
    assert [report.builds for report in seen] == sorted({report.builds for report in seen})
    assert all(report.builds == report.jobs == report.attempts for report in seen)
