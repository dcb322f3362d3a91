"""What only the file on disk can show: locks, epochs, other versions, and processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from surveil.core.model import Job, Status
from surveil.errors import InfrastructureError, InvalidError
from surveil.places import LOCK, Hold
from surveil.protocol import JobSpec, StepReport, StepSpec, pack_part, unpack_part
from surveil.store import DefectError, FencedError, StoreError
from surveil.store.backup import backup
from surveil.store.codec import _steps, _steps_of
from surveil.store.spec_codec import spec_of, spec_row
from surveil.store.sqlite import ATTEMPTS_SKIPPED, BUILDS_SKIPPED, FILE, open_reader, open_store
from tests.platter import Platter
from tests.store.records import (
    changed,
    make_attempt,
    make_build,
    make_job,
    make_note,
    make_peer,
    make_runner,
    make_spec,
    make_token,
    new,
)
from tests.store.rewriting import rewrite


def rows(data: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(data / FILE)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_the_cluster_keeps_its_name_and_each_start_has_a_higher_epoch(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        store = open_store(tmp_path / "new" / "folder", now=1)
        seen.append(store.cluster)
        store.close()
    assert [cluster.epoch for cluster in seen] == [1, 2, 3]
    assert len({cluster.id for cluster in seen}) == 1
    assert len(seen[0].id) == 32
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


def test_steps_that_an_earlier_version_stored_are_written_as_they_were() -> None:
    step = StepReport(name="s", state="passed", log_at=3)
    served = StepReport(name="service db", state="passed", image="db@sha256:1")
    old = {name: value for name, value in pack_part(step).items() if name != "image"}
    assert _steps((step,)) == json.dumps([old], ensure_ascii=False, separators=(",", ":"))
    assert _steps_of(_steps((step, served))) == (step, served)


def test_a_job_that_an_earlier_version_stored_goes_on_under_the_digest_that_it_has() -> None:
    spec = JobSpec(name="test", env={}, timeout_ms=1, matrix={}, steps=(StepSpec(name="s", run="true", env={}),))
    first = {"name", "needs", "when", "labels", "env", "timeout_ms", "retry", "on_runner_loss", "steps", "matrix"}
    step = {"name", "run", "shell", "timeout_ms", "continue_on_error", "env"}
    old = {name: value for name, value in pack_part(spec).items() if name in first}
    old["steps"] = [{name: value for name, value in each.items() if name in step} for each in old["steps"]]
    body = json.dumps(old, ensure_ascii=False, separators=(",", ":"))
    assert spec_row(spec) == (sha256(body.encode()).digest(), body)
    assert unpack_part(JobSpec, json.loads(body)) == spec


STORED_PARTS = (
    '{"name":"test","needs":[],"when":"passed","labels":[],"env":{},"timeout_ms":1,"retry":0,"on_runner_loss":"retry",'
    '"steps":[],"matrix":{},"artifacts":[{"name":"files","paths":["dist"],"required":false,"retention_ms":0}],'
    '"cache":[{"key":"k","restore_keys":[],"paths":["lib"]}],'
    '"image":{"name":"python:3.12","pull":"missing","cpu_thousandths":0,"memory_bytes":0,"processes":0},'
    '"secrets":[{"name":"TOKEN","env":"TOKEN","file":"","place":"4:5"}]}'
)
"""As the first version that had these parts wrote them. This text never changes."""


def test_a_part_of_a_job_that_an_earlier_version_stored_keeps_its_text_whatever_is_added_to_it() -> None:
    digest = sha256(STORED_PARTS.encode()).digest()
    assert spec_row(spec_of(STORED_PARTS, digest)) == (digest, STORED_PARTS)


def test_what_a_later_version_added_is_stored_where_it_says_something() -> None:
    spec = make_spec()
    digest, body = spec_row(spec)
    assert spec_of(body, digest) == spec
    assert spec_row(replace(spec, priority=0)) != (digest, body)


def test_two_installations_have_two_names(tmp_path: Path) -> None:
    one, two = open_store(tmp_path / "1", now=1), open_store(tmp_path / "2", now=1)
    assert one.cluster.id != two.cluster.id
    one.close()
    two.close()


def test_a_second_dispatcher_is_told_which_process_holds_the_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    with pytest.raises(InfrastructureError, match=rf"{tmp_path} is used by a dispatcher \(process {os.getpid()}\)"):
        open_store(tmp_path, now=1)
    assert store.reader.cluster().epoch == 1
    store.close()
    store.close()
    again = open_store(tmp_path, now=1)
    assert again.cluster.epoch == 2
    again.close()


def test_a_deposed_dispatcher_writes_nothing_more(tmp_path: Path) -> None:
    old = open_store(tmp_path, now=1)
    old.commit(new(make_build(), make_job()))
    # As after a lock that a network disk forgot.
    (tmp_path / LOCK).unlink()
    newer = open_store(tmp_path, now=1)
    job = replace(make_job(), state=Status.RUNNING)
    writes: list[Callable[[], object]] = [
        lambda: old.commit(changed(job)),
        lambda: old.commit(new(notes=(make_note(),))),
        lambda: old.commit(new()),
        lambda: old.add_peer(make_peer()),
        lambda: old.add_token(make_token()),
        lambda: old.revoke_peer("k", now=1),
        lambda: old.revoke_token("t", now=1),
        lambda: old.redeem(b"", key="k", name="n", now=1),
    ]
    for write in writes:
        with pytest.raises(FencedError, match="epoch 2"):
            write()
    assert newer.load() == ([make_build(), make_job()], 2)
    assert (newer.reader.journal(), newer.reader.peers(), newer.reader.tokens()) == ([], [], [])
    newer.commit(changed(job))
    old.close()
    newer.close()


def test_the_database_is_in_the_mode_that_survives_a_loss_of_power(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


def test_a_new_database_is_found_under_its_name_after_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platter = Platter(monkeypatch)
    store = open_store(tmp_path / "data", now=1)
    assert platter.has_name(tmp_path / "data" / FILE)
    assert platter.has_name(tmp_path / "data" / f"{FILE}-wal")
    store.close()


def test_nobody_else_may_read_the_database(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build()))
    assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {
        FILE: 0,
        FILE + "-wal": 0,
        FILE + "-shm": 0,
        LOCK: 0,
    }
    store.close()


def test_a_batch_is_one_transaction(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    said: list[str] = []
    driver = store.engine.raw_connection().driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(said.append)
    store.commit(new(make_build(), make_job(), make_runner(), notes=(make_note(),)))
    assert len(said) > 5
    assert [said[0], *(sql for sql in said[1:-1] if sql in {"BEGIN IMMEDIATE", "COMMIT"}), said[-1]] == [
        "BEGIN IMMEDIATE", "COMMIT",
    ]  # fmt: skip
    store.close()


def test_jobs_of_one_kind_share_their_spec(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(*(make_build(n) for n in range(1, 5)), *(make_job(n) for n in range(1, 5))))
    store.close()
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build(5), make_job(5)))
    specs = {id(detail.jobs[0].spec) for detail in store.reader.details([1, 2, 3, 4, 5])}
    store.close()
    assert rows(tmp_path, "SELECT count(*) FROM specs") == [(1,)]
    assert len(specs) == 1


def test_a_spec_of_a_transaction_that_failed_is_stored_by_the_next(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build(1)))
    with pytest.raises(DefectError):
        store.commit(new(make_build(1), make_job(1)))
    store.commit(new(make_job(1)))
    assert store.load() == ([make_build(1), make_job(1)], 2)
    store.close()


def test_a_text_that_cannot_be_stored_is_our_defect(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    with pytest.raises(DefectError):
        store.commit(new(make_build(message="\udcff")))
    store.commit(new(make_build(message="\ufffd")))
    store.close()


# ---- what is not ours ----------------------------------------------------------------------------------------


def test_a_folder_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path, now=1).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    with pytest.raises(InvalidError, match=r"newer version of surveil \(tables 9999"):
        open_store(tmp_path, now=1)
    with pytest.raises(InvalidError, match="newer version"):
        open_reader(tmp_path)
    assert rows(tmp_path, "SELECT epoch FROM cluster") == [(1,)]


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.commit()
    database.close()
    for opening in (lambda: open_store(tmp_path, now=1), lambda: open_reader(tmp_path)):
        with pytest.raises(InvalidError, match="another program"):
            opening()
    assert rows(tmp_path, "SELECT name FROM sqlite_master") == [("bookmarks",)]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"These are my notes.\n" * 500)
    for opening in (lambda: open_store(tmp_path, now=1), lambda: open_reader(tmp_path)):
        with pytest.raises(InvalidError, match="not a database"):
            opening()
    assert (tmp_path / FILE).read_bytes().startswith(b"These are")


def test_a_damaged_database_is_named_in_one_line_with_what_to_put_in_its_place(tmp_path: Path) -> None:
    open_store(tmp_path, now=1).close()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 12_000)
    for opening in (lambda: open_store(tmp_path, now=2), lambda: open_reader(tmp_path)):
        with pytest.raises(StoreError, match=r"malformed\): put back a copy that `surveil db backup` made") as caught:
            opening()
        assert "\n" not in str(caught.value)
        assert "sqlalche" not in str(caught.value)


def test_a_folder_that_a_runner_holds_is_not_said_to_be_a_dispatchers(tmp_path: Path) -> None:
    with (
        Hold(tmp_path, "a runner"),
        pytest.raises(InfrastructureError, match=rf"is used by a runner \(process {os.getpid()}\)"),
    ):
        open_store(tmp_path, now=1)


def test_a_folder_without_a_database_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no database"):
        open_reader(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_was_never_brought_up_to_date_cannot_be_read(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / FILE).close()
    (tmp_path / FILE).touch()
    with pytest.raises(InvalidError, match="start the dispatcher once"):
        open_reader(tmp_path)


@pytest.mark.parametrize("url", ["postgresql://db.example/ci", "mysql://x", "sqlite://", "nonsense"])
def test_another_kind_of_database_is_refused_with_a_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidError, match="sqlite:///PATH"):
        open_store(tmp_path, now=1, database=url)


def test_the_database_may_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where?.db"
    store = open_store(tmp_path / "data", now=1, database=f"sqlite:///{elsewhere}")
    store.commit(new(make_build()))
    reader = open_reader(tmp_path / "data", database=f"sqlite:///{elsewhere}")
    assert reader.builds() == [make_build(jobs=())]
    reader.close()
    store.close()
    assert elsewhere.exists()
    assert not (tmp_path / "data" / FILE).exists()


def test_a_folder_that_is_missing_for_the_database_is_named_and_the_lock_let_go(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not make the database"):
        open_store(tmp_path, now=1, database=f"sqlite:///{tmp_path / 'missing' / 'x.db'}")
    open_store(tmp_path, now=1).close()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be used"):
        open_store(tmp_path / "data", now=1)


# ---- readers -------------------------------------------------------------------------------------------------


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    reader = open_reader(tmp_path)
    with reader.engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM cluster")
    reader.close()
    store.close()


@pytest.mark.parametrize("restored", [True, False])
def test_a_reader_reads_nothing_more_once_its_file_is_another_one(tmp_path: Path, *, restored: bool) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    store = open_store(folder, now=1)
    store.commit(new(make_build(1), make_job(1)))
    store.close()
    shutil.copytree(folder, copy)
    reader = open_reader(folder)
    mark = reader.mark()
    assert [build.id for build in reader.builds()] == [1]
    assert reader.mark() == mark
    folder.rename(tmp_path / "old")
    if restored:
        copy.rename(folder)
    asks: list[Callable[[], object]] = [
        reader.builds, reader.repositories, lambda: reader.build(1), lambda: reader.looks([1])
    ]  # fmt: skip
    for ask in asks:
        # Where there is none, whoever has to open one says so first.
        with pytest.raises(StoreError, match="start this process again" if restored else "again|unable to open"):
            ask()
    assert reader.mark() != mark
    assert reader.mark() != reader.mark()
    reader.close()
    if restored:
        assert [build.id for build in reader.builds()] == [1]
        reader.close()


def test_readers_in_many_threads_see_whole_batches_only(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    torn: list[object] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            found = store.reader.details(list(range(1, 60)))
            states = [{job.state for job in detail.jobs} for detail in found if len(detail.jobs) == 2]
            torn.extend(detail for detail in found if len(detail.jobs) != 2)
            torn.extend(states_of for states_of in states if len(states_of) != 1)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 60):
        pair = [make_job(n, name=name, position=at) for at, name in enumerate("ab")]
        store.commit(new(make_build(n, ("a", "b")), *pair))
        store.commit(changed(*(replace(job, state=Status.RUNNING) for job in pair)))
    stop.set()
    for thread in threads:
        thread.join(30)
    assert torn == []
    store.close()


# ---- death ---------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from surveil.store.sqlite import open_store
from tests.store.records import make_build, make_job, make_note, new

store = open_store(Path(sys.argv[1]), now=1)
_, build = store.load()
while True:
    part = range(build, build + 7)
    notes = tuple(make_note(name=str(n), build=n) for n in part)
    store.commit(new(*(make_build(n) for n in part), *(make_job(n) for n in part), notes=notes))
    build += 7
    print(build - 1, flush=True)
"""


def test_what_was_acknowledged_survives_being_killed_in_mid_commit(tmp_path: Path) -> None:
    acknowledged = 0
    for turn in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert writer.stdout is not None
        for _ in range(3 + turn * 5):
            acknowledged = int(writer.stdout.readline())
        # It goes on committing until the signal comes, wherever it is then.
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        writer.wait(30)
        writer.stdout.close()
        store = open_store(tmp_path, now=1)
        records, next_build = store.load()
        store.close()
        assert acknowledged < next_build
        assert (next_build - 1) % 7 == 0
        builds = list(range(1, next_build))
        assert records == [*(make_build(n) for n in builds), *(make_job(n) for n in builds)]
        assert rows(tmp_path, "SELECT count(*) FROM notes") == [(next_build - 1,)]
        assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("table", ["builds", "jobs", "notes", "runners"])
def test_a_failure_in_the_middle_of_a_batch_leaves_nothing_of_it(tmp_path: Path, table: str) -> None:
    store = open_store(tmp_path, now=1)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
    batch = new(make_build(), make_job(), make_runner(), notes=(make_note(),))
    with pytest.raises(StoreError, match="disk I/O error"):
        store.commit(batch)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER broken")
    assert store.load() == ([], 1)
    store.commit(batch)
    assert store.load() == ([make_build(), make_job(), make_runner()], 2)
    store.close()


def test_a_full_disk_is_a_store_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build()))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        store.commit(new(*(make_build(n, message="x" * 4000) for n in range(2, 100))))
    assert store.load() == ([make_build(jobs=())], 2)
    store.close()


def test_a_disk_that_is_full_at_the_start_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("surveil.store.sqlite.migrations.bring_up_to_date", full)
    with pytest.raises(StoreError, match=r"because the disk is full: make room \(`df -h .*`\), or choose another"):
        open_store(tmp_path, now=1)
    monkeypatch.undo()
    open_store(tmp_path, now=1).close()


# ---- a copy that comes back ----------------------------------------------------------------------------------


def test_a_restored_backup_skips_the_epochs_and_builds_that_it_missed(tmp_path: Path) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build(41)))
    store.close()
    rewrite(tmp_path / FILE, "UPDATE cluster SET copied_at = 5")
    restored = open_store(tmp_path, now=1_700_000_000_000)
    assert restored.cluster.epoch == 1_700_000_000
    assert restored.load() == ([make_build(41, jobs=())], 42 + BUILDS_SKIPPED)
    restored.close()
    again = open_store(tmp_path, now=1_700_000_000_000)
    assert again.cluster.epoch == 1_700_000_001
    assert again.load() == ([make_build(41, jobs=())], 42 + BUILDS_SKIPPED)
    again.close()


def test_open_jobs_of_a_restored_backup_skip_the_attempts_that_it_missed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data", now=1)
    store.commit(
        new(
            make_build(1, jobs=("a", "b", "c")),
            make_job(1, "a", state=Status.RUNNING, attempt=2),
            make_job(1, "b", position=1),
            make_job(1, "c", position=2, state=Status.PASSED, attempt=3),
            make_attempt(1, "a", 2),
        )
    )
    backup(tmp_path / "data", tmp_path / "copy", now=5)
    store.close()
    for _ in range(2):
        with closing(open_store(tmp_path / "copy", now=1)) as restored:
            records, _ = restored.load()
            numbers = {record.id: record.attempt for record in records if isinstance(record, Job)}
            assert numbers == {"1/a": 2 + ATTEMPTS_SKIPPED, "1/b": ATTEMPTS_SKIPPED, "1/c": 3}
            assert make_attempt(1, "a", 2) in records


def test_an_epoch_outlives_the_loss_of_the_write_ahead_log(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with closing(open_store(data, now=1)) as store:
        lost = Path(shutil.copytree(data, tmp_path / "lost"))
        held = store.cluster.epoch
    (lost / f"{FILE}-wal").unlink()
    with closing(open_store(lost, now=1)) as store:
        assert store.cluster.epoch > held
