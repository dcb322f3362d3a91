"""A disk of ours is a disk like any other to the processes that work on it, until it is told to fail."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.disks.mounted import Mounted, mark, mounted, read_trace
from tests.disks.needs import ON_A_DISK_OF_OURS

pytestmark = ON_A_DISK_OF_OURS


def test_files_folders_links_and_pipes_work_as_ever(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        here = disk.folder
        (here / "f").mkdir()
        (here / "f" / "a").write_bytes(b"one")
        os.link(here / "f" / "a", here / "b")
        (here / "link").symlink_to("f/a")
        assert (here / "link").read_bytes() == b"one"
        assert (here / "b").stat().st_nlink == 2
        (here / "b").rename(here / "f" / "c")
        with (here / "f" / "c").open("a+b") as file:
            file.write(b"two")
            (here / "f" / "a").unlink()
            (here / "f" / "c").unlink()
            file.write(b"three")
            file.flush()
            assert os.pread(file.fileno(), 99, 0) == b"onetwothree"
        (here / "g").mkdir()
        (here / "g" / "x").touch()
        with pytest.raises(OSError, match="not empty"):
            (here / "f").rename(here / "g")
        with pytest.raises(OSError, match="not empty"):
            (here / "g").rmdir()
        os.mkfifo(here / "pipe")
        assert (here / "pipe").is_fifo()
        assert sorted(path.name for path in here.iterdir()) == ["f", "g", "link", "pipe"]


def test_a_database_with_its_shared_memory_works(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk, closing(sqlite3.connect(disk.folder / "db")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (a)")
        with closing(sqlite3.connect(disk.folder / "db")) as reader:
            for number in range(50):
                with writer:
                    writer.execute("INSERT INTO t VALUES (?)", (number,))
                assert reader.execute("SELECT count(*) FROM t").fetchone() == (number + 1,)


def failing(disk: Mounted, *kinds: str, number: int, at: int = 1) -> None:
    disk.fail(*kinds, number=number, path="^x", at=at, count=1)


def test_calls_fail_where_and_when_they_are_told_to(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk, (disk.folder / "x").open("wb", buffering=0) as file:
        failing(disk, "write", number=errno.ENOSPC, at=2)
        file.write(b"one")
        with pytest.raises(OSError, match="No space"):
            file.write(b"two")
        file.write(b"three")
        assert disk.met() == 3
        failing(disk, "sync", number=errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(file.fileno())
        os.fsync(file.fileno())
        disk.fail("make", number=errno.ENOSPC)
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "new").mkdir()
        assert os.statvfs(disk.folder).f_favail == 0
        disk.work()
        (disk.folder / "new").mkdir()


def test_a_loss_of_power_leaves_what_was_synced_and_ends_everything(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", trace=tmp_path / "trace") as disk:
        file = os.open(disk.folder / "x", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"kept")
        os.fsync(file)
        folder = os.open(disk.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        mark(disk.folder, "said")
        os.write(file, b" or not" * 1000)
        disk.lose_power(3, tmp_path / "left")
        with pytest.raises(OSError, match="Input/output"):
            os.write(file, b"late")
        os.close(file)
    assert (tmp_path / "left" / "x").read_bytes()[:4] == b"kept"
    assert ("mark", "said") in list(read_trace(tmp_path / "trace"))
    with mounted(tmp_path / "disk", source=tmp_path / "left") as again:
        assert (again.folder / "x").read_bytes() == (tmp_path / "left" / "x").read_bytes()
