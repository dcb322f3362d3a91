"""One `up` for each data folder."""

import os
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.up.lock import locked


def test_a_second_up_on_the_same_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path / "data"):
        with (
            pytest.raises(InfrastructureError, match=rf"^Another `surveil up` \(process {os.getpid()}\) runs on "),
            locked(tmp_path / "data"),
        ):
            pass
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(
            InfrastructureError,
            match="cannot be used: Not a directory; make it writable, or choose",
        ),
        locked(tmp_path / "file" / "data"),
    ):
        pass
