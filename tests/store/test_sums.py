"""Each row vouches for all of itself: a value that became another of its kind is noticed wherever the row is read."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from surveil.core.model import AttemptState, LogEnd, Status
from surveil.core.state import Changes
from surveil.store import Store, StoreError, codec
from surveil.store.checking import check
from surveil.store.reading import SqlReader
from surveil.store.shelf import Shelf
from surveil.store.sqlite import FILE, open_reader, open_store
from surveil.store.sums import DamagedError, row_sum
from surveil.store.timetabling import TIMETABLES
from tests.store.records import (
    KEY,
    changed,
    make_artifact,
    make_attempt,
    make_build,
    make_cache,
    make_job,
    make_note,
    make_peer,
    make_runner,
    make_secret,
    make_timetable,
    make_token,
    new,
)

QUESTIONS: dict[str, Callable[[SqlReader], object]] = {
    "cluster": lambda reader: reader.cluster(),
    "builds": lambda reader: reader.builds(),
    "jobs": lambda reader: reader.build(1),
    "attempts": lambda reader: reader.owner("1/test", 1),
    "runners": lambda reader: reader.runners(),
    "notes": lambda reader: reader.journal(),
    "peers": lambda reader: reader.peers(),
    "tokens": lambda reader: reader.tokens(),
    "artifacts": lambda reader: Shelf(reader.engine, reader.engine.begin).artifacts(),
    "secrets": lambda reader: reader.secrets(),
    "timetables": lambda reader: reader.timetables(),
    "caches": lambda reader: Shelf(reader.engine, reader.engine.begin).caches(),
}
GUARDS = (*codec.GUARDS, TIMETABLES)
COLUMNS = [(guard.table.name, column.name) for guard in GUARDS for column in guard.table.c]
KEYS = {(guard.table.name, column.name) for guard in GUARDS for column in guard.table.primary_key}
OF_THE_START = [
    each
    for each in COLUMNS
    if each[0] not in {"notes", "peers", "tokens", "artifacts", "secrets", "timetables", "caches"} and each not in KEYS
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one row of each kind, all of them in the file."""
    folder = tmp_path_factory.mktemp("sums") / "data"
    with closing(open_store(folder, now=1)) as store:
        store.commit(new(make_build(), make_job(), make_attempt(), make_runner(), notes=(make_note(),)))
        store.add_peer(make_peer())
        store.add_token(make_token())
        store.shelf.keep(make_artifact())
        store.put_secrets([make_secret()])
        store.put_timetable("/srv/repo", make_timetable())
        store.shelf.keep_cache(make_cache())
    return folder


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def damage(data: Path, table: str, column: str) -> None:
    """Make a value another one of its kind, as a bit of a disk may."""
    with closing(sqlite3.connect(data / FILE)) as database, database:
        ((value,),) = database.execute(f"SELECT {column} FROM {table}").fetchall()
        database.execute(f"UPDATE {table} SET {column} = ?", (other(value),))


def other(value: Any) -> Any:
    match value:
        case int():
            return value ^ 1
        case str():
            return chr(ord(value[:1] or "`") ^ 1) + value[1:]
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case _:
            return 0


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_change_of_any_value_is_noticed_by_whoever_reads_its_row(data: Path, table: str, column: str) -> None:
    damage(data, table, column)
    if (table, column) not in KEYS:  # Else it is not found any more by those who ask for it.
        with (
            closing(open_reader(data)) as reader,
            pytest.raises(DamagedError, match=r"was damaged on disk.*`surveil db backup`"),
        ):
            QUESTIONS[table](reader)
    assert [line for line in check(data).problems if line.endswith("was damaged on disk: its checksum does not fit")]


@pytest.mark.parametrize(("table", "column"), OF_THE_START)
def test_a_dispatcher_does_not_start_from_a_row_that_was_changed(data: Path, table: str, column: str) -> None:
    damage(data, table, column)
    with pytest.raises(StoreError, match=r"damaged on disk.*`surveil db backup`|cannot read"):
        start(data)


def start(data: Path) -> None:
    with closing(open_store(data, now=1)) as store:
        store.load()


@pytest.mark.parametrize("column", ["build", "name", "number"])
def test_a_dispatcher_does_not_start_without_an_attempt_that_runs(data: Path, column: str) -> None:
    with closing(open_store(data, now=1)) as store:
        store.commit(changed(make_job(state=Status.RUNNING, attempt=1)))
    damage(data, "attempts", column)
    with pytest.raises(StoreError, match=r"attempt .* was damaged on disk|runs without an open attempt: `surveil"):
        start(data)


def test_the_last_build_is_looked_at_because_its_number_decides_the_next(data: Path) -> None:
    with closing(open_store(data, now=1)) as store:
        store.commit(new(make_build(2, state=Status.PASSED)))
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute("UPDATE builds SET id = 1026 WHERE id = 2")
    with closing(open_store(data, now=1)) as store, pytest.raises(DamagedError, match="build 1026 was damaged"):
        store.load()


def test_a_late_word_about_a_log_does_not_hide_that_the_attempt_was_changed(data: Path) -> None:
    with closing(open_store(data, now=1)) as store:
        store.commit(changed(make_attempt(state=AttemptState.LOST)))
    damage(data, "attempts", "assigned_at")
    end = LogEnd(job="1/test", number=1, runner=KEY, log_bytes=9)
    with closing(open_store(data, now=1)) as store:
        store.commit(Changes(new=(), changed=(), notes=(), log_ends=(end,)))
        with pytest.raises(DamagedError):
            store.reader.attempt("1/test", 1)


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.redeem(make_token().digest, key="x" * 40, name="x", now=6),
        lambda store: store.revoke_token("t1", now=6),
    ],
)
def test_a_token_that_was_changed_lets_nobody_in_and_is_not_written_over(
    data: Path, write: Callable[[Store], object]
) -> None:
    damage(data, "tokens", "uses_left")
    with closing(open_store(data, now=1)) as store, pytest.raises(DamagedError, match="token t1 was damaged"):
        write(store)
    assert [line for line in check(data).problems if line.startswith("token t1 was damaged")]


def test_a_changed_commands_digest_is_named(data: Path) -> None:
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute("UPDATE specs SET body = replace(body, 'make test', 'make tess')")
    assert [line for line in check(data).problems if line.startswith("the spec ")]


def test_an_entry_that_an_index_lost_is_noticed_at_the_start(data: Path) -> None:
    with closing(sqlite3.connect(data / FILE)) as database:
        database.execute("PRAGMA writable_schema = ON")
        (index,) = database.execute("SELECT * FROM sqlite_master WHERE name = 'builds_open'").fetchall()
        with database:
            database.execute("DELETE FROM sqlite_master WHERE name = 'builds_open'")
    with closing(sqlite3.connect(data / FILE)) as database, database:
        (row,) = database.execute("SELECT * FROM builds").fetchall()
        twin = (2, "another", *row[2:])
        database.execute(f"INSERT INTO builds VALUES ({', '.join('?' * len(twin))})", twin)
        database.execute("PRAGMA writable_schema = ON")
        database.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"damaged on disk: .*builds_open.*put back a copy"):
            open_store(data, now=1)


def test_a_schema_that_was_damaged_is_told_of_in_a_short_sentence(data: Path) -> None:
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        broken = 'CREATE TABLE attempts ( "' + 200 * "column "
        database.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'attempts'", (broken,))
    with pytest.raises(StoreError, match=r"malformed database schema.*…\): put back a copy") as refused:
        open_store(data, now=1)
    assert len(str(refused.value)) - len(str(data)) < 400


def test_a_database_that_is_too_large_for_a_look_at_all_of_it_is_opened_with_a_warning(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(data / FILE)) as database, database:
        database.execute(
            "CREATE TABLE ballast AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n "
            "LIMIT 300000) SELECT i, hex(randomblob(16)) FROM n"
        )
    # At once: even an interruption that comes before the look has begun ends it.
    monkeypatch.setattr("surveil.store.sqlite.CHECK_S_MAX", 0.0)
    monkeypatch.setattr("surveil.store.sqlite.INTERRUPT_S", 0.001)
    with closing(open_store(data, now=1)) as store:
        assert store.load()
    assert "too large for a look at all of it: run `surveil db check`" in caplog.text


def test_the_sum_of_a_row_is_the_same_for_ever() -> None:
    """Whoever changes this finds every row of every database damaged."""
    assert row_sum((1, "\N{SNOWMAN}", None, b"\0", 2**53, -1)) == 2619303613
