"""Keys in files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.net.keys import load_keys, load_or_make_keys, make_keys, write_privately
from tests.platter import Platter


def test_a_key_is_made_once_and_is_the_same_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "server.key"
    keys = load_or_make_keys(path)
    assert load_or_make_keys(path) == load_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_key_never_shows_in_what_is_printed() -> None:
    keys = make_keys()
    assert keys.secret not in repr(keys)
    assert keys.public in repr(keys)


def test_all_who_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(load_or_make_keys, [path] * 64))) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_touch_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "server.key"
    load_or_make_keys(path)
    path.chmod(mode)
    with pytest.raises(InfrastructureError, match=rf"open to other users \(mode {mode:04o}\): type 'chmod 600 {path}'"):
        load_or_make_keys(path)


def test_a_pipe_in_the_place_of_a_key_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "server.key", 0o600)
    with pytest.raises(InfrastructureError, match=r"cannot be read \(Not a file\)"):
        load_or_make_keys(tmp_path / "server.key")


@pytest.mark.parametrize("content", [b"", b"x" * 39, b"x" * 41, b"\xff" * 40, b'"' * 40, b"x" * 1_000_000])
def test_a_file_without_a_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server.key"
    write_privately(path, content, replace=False)
    with pytest.raises(InfrastructureError, match=str(path)):
        load_or_make_keys(path)
    assert path.read_bytes() == content


def test_a_key_of_an_earlier_version_is_taken_and_one_that_the_disk_changed_is_not(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    keys = make_keys()
    write_privately(path, keys.secret.encode() + b"\n", replace=True)
    assert load_keys(path) == keys
    path.unlink()
    keys = load_or_make_keys(path)
    content = path.read_bytes()
    assert keys.secret.encode() in content
    for at in range(len(content) - 1):
        damaged = bytearray(content)
        damaged[at] ^= 1
        write_privately(path, bytes(damaged), replace=True)
        with pytest.raises(InfrastructureError, match="does not hold a key"):
            load_keys(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match=r"server\.key cannot be written"):
        load_or_make_keys(tmp_path / "file" / "server.key")


def test_a_file_that_is_replaced_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_privately(path, b"old", replace=False)
    write_privately(path, b"ignored", replace=False)
    assert path.read_bytes() == b"old"
    write_privately(path, b"new", replace=True)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_is_on_the_platter_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replace: bool
) -> None:
    platter = Platter(monkeypatch)
    write_privately(tmp_path / "x", b"key", replace=replace)
    assert platter.has(tmp_path / "x")
