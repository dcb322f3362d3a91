"""Files that are whole and last."""

import os
from pathlib import Path

import pytest

from surveil.disk import make_folder, sync_file, sync_folder, write_whole
from tests.platter import Platter


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_is_on_the_platter_with_its_name_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replace: bool
) -> None:
    platter = Platter(monkeypatch)
    write_whole(tmp_path / "x", b"content", replace=replace)
    assert platter.has(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"content"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_folders_are_on_the_platter_with_those_above_them_when_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platter = Platter(monkeypatch)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert platter.has_name(tmp_path / "a")
    assert platter.has_name(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        make_folder(tmp_path / "file" / "x")


def test_what_need_not_last_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(os, "fsync", fail)
    write_whole(tmp_path / "x", b"content", sync=False)
    assert (tmp_path / "x").read_bytes() == b"content"


def test_a_file_that_is_there_is_replaced_only_where_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_whole(path, b"old")
    write_whole(path, b"ignored", replace=False)
    assert path.read_bytes() == b"old"
    write_whole(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_whole(tmp_path / "x", b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, rest: write(file, rest[:3]))
    write_whole(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_what_others_wrote_can_be_put_on_the_platter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(monkeypatch)
    (tmp_path / "x").write_bytes(b"theirs")
    sync_file(tmp_path / "x")
    sync_folder(tmp_path)
    assert platter.has(tmp_path / "x")
