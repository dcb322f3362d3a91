"""A data folder, and who holds it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.places import LOCK, UP_LOCK, Hold, TakenError


def test_whoever_comes_second_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with Hold(tmp_path / "data", "a runner"):
        with pytest.raises(TakenError) as taken:
            Hold(tmp_path / "data", "an observer")
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "data" / LOCK).stat().st_mode & 0o777 == 0o600
    assert str(taken.value) == (
        f"the data folder {tmp_path / 'data'} is used by a runner (process {os.getpid()}): "
        "stop that first, or choose another folder with --data"
    )
    assert taken.value.pid == str(os.getpid())


def test_a_folder_is_free_again_when_it_is_released_and_releasing_twice_frees_nobody_elses(tmp_path: Path) -> None:
    first = Hold(tmp_path, "a runner")
    first.release()
    with Hold(tmp_path, "a runner"):
        first.release()
        with pytest.raises(TakenError):
            Hold(tmp_path, "a runner")


def test_one_folder_may_have_two_locks(tmp_path: Path) -> None:
    with Hold(tmp_path, "an `up`", lock=UP_LOCK), Hold(tmp_path, "a dispatcher"):
        pass


def test_a_holder_that_does_not_say_who_it_is_is_another_process(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TakenError, match="is used by another process: stop that first"):
            Hold(tmp_path, "a dispatcher")


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    program = f"import os, pathlib, surveil.places as p; h = p.Hold(pathlib.Path({str(tmp_path)!r}), 'x'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    Hold(tmp_path, "a runner").release()


def test_a_folder_from_which_git_cannot_borrow_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"line break in its name, .* choose another with --data"):
        Hold(tmp_path / "da\nta", "a runner")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="cannot be used: Not a directory; make it writable, or choose"):
        Hold(tmp_path / "file" / "data", "a runner")
