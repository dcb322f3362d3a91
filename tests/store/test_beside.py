"""Files beside the database: whatever is done to one, it says so in a sentence, and goes on with what is there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from surveil.store import StoreError, sqlite
from surveil.store.beside import FileBeside

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("number", Integer, primary_key=True))
GROWN = 2000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.db"


def opened(path: Path) -> FileBeside:
    return FileBeside(path, METADATA, 1, loss=", which costs all numbers")


def write(file: FileBeside, *numbers: int) -> None:
    with file.transaction() as connection:
        connection.execute(insert(NUMBERS), [{"number": number} for number in numbers])


def read(file: FileBeside) -> list[int]:
    with file.looking() as connection:
        return list(connection.execute(select(NUMBERS.c.number)).scalars())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"no database" * 999)


def lose_tables(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE numbers")


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the file taken does not wait."""
    monkeypatch.setattr(sqlite, "_WRITER_PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA busy_timeout = 0"))


def test_threads_of_one_process_take_turns_without_luck(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    file = opened(path)
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(lambda number: write(file, number), range(400)):
            pass
    assert sorted(read(file)) == list(range(400))
    file.close()


def test_a_file_that_another_process_does_not_let_go_of_is_told_of_in_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    file = opened(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"numbers.db cannot be used \(database is locked\): look at the disk"):
            write(file, 1)
        other.execute("ROLLBACK")
    write(file, 2)
    assert read(file) == [2]
    file.close()


@pytest.mark.parametrize("damage", [cut, scribble, lose_tables])
def test_whoever_meets_damage_is_told_what_to_do_and_what_it_costs(path: Path, damage: Callable[[Path], None]) -> None:
    file = opened(path)
    write(file, *range(GROWN))
    file.close()
    damage(path)

    def look() -> None:
        read(opened(path))

    with pytest.raises(
        StoreError,
        match=r"numbers\.db is damaged \(.+\): end what runs on this folder, remove `numbers\.db` and "
        r"`numbers\.db-wal`, and put its copy from a backup there; without a copy, only remove the file, which "
        r"costs all numbers",
    ):
        look()


def test_whoever_cannot_write_is_told_to_look_at_the_disk(path: Path) -> None:
    file = opened(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON numbers BEGIN SELECT RAISE(FAIL, 'no room'); END")
    with pytest.raises(StoreError, match=r"cannot be used \(no room\): look at the disk's free space, health and"):
        write(file, 1)


def test_a_file_that_was_removed_under_processes_is_made_anew_by_one_and_shared_by_all(path: Path) -> None:
    # Each process has locks and a map of its own; within one, SQLite would share them.
    follow = (
        "import sys; from pathlib import Path; from tests.store.test_beside import opened, read, write\n"
        "file = opened(Path(sys.argv[1]))\n"
        "for line in sys.stdin: write(file, int(line)); print(*read(file), flush=True)"
    )
    with ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", follow, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]

        def write_by(other: int, number: int) -> str:
            process = others[other]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert (write_by(0, 1), write_by(1, 2)) == ("1", "1 2")
        path.unlink()
        file = opened(path)
        write(file, 3)
        assert (write_by(0, 4), write_by(1, 5)) == ("3 4", "3 4 5")
        assert read(file) == [3, 4, 5]


def test_opening_it_once_more_takes_no_lock_from_who_has_it_open(path: Path) -> None:
    file = opened(path)
    write(file, 1)
    opened(path).close()
    # Whoever thinks that nobody has it open could take away the log in which others read.
    alone = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"
    asked = subprocess.run([sys.executable, "-c", alone, str(path)], capture_output=True, text=True, check=False)
    assert "database is locked" in asked.stderr
    assert read(file) == [1]
