"""What a person types means one repository, however it is written."""

from pathlib import Path

import pytest

from surveil.errors import ExitCode
from surveil.mirror.address import AddressError
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.mirror.typed import find_repository, resolve, resolve_all
from tests.mirror.repositories import Repository, make_repository


def test_repositories_are_named_once_however_they_are_written(repository: Repository, tmp_path: Path) -> None:
    (repository.path / "inner").mkdir()
    (tmp_path / "link").symlink_to(repository.path)
    texts = ("source", "./source/inner", f"file://{repository.path}", str(tmp_path / "link"), "source/.git")
    assert [address.key for address in resolve_all(texts, str(tmp_path))] == [str(repository.path)]


def test_a_repository_is_found_from_a_folder_inside_it(repository: Repository, tmp_path: Path) -> None:
    inner = repository.path / "src" / "deep"
    inner.mkdir(parents=True)
    assert find_repository(str(inner)) == str(repository.path)
    assert find_repository(str(repository.path / ".git")) == str(repository.path)
    bare = make_repository(tmp_path / "bare.git", "--bare")
    assert find_repository(str(bare.path)) == str(bare.path)


def test_what_is_no_repository_is_said_before_anything_starts(tmp_path: Path) -> None:
    for text in ("ext::sh -c x", "-u", ""):
        with pytest.raises(AddressError):
            resolve(text, str(tmp_path))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").mkdir()
    for text, reason in (
        (".", "is not in a git repository; name one, or make one with `git init`."),
        ("nothing here", "There is no folder"),
        ("broken", "is not a git repository"),
    ):
        with pytest.raises(MirrorError, match=reason) as refused:
            resolve(text, str(tmp_path))
        assert (refused.value.trouble, refused.value.exit_code) == (Trouble.NOT_A_REPOSITORY, ExitCode.NOT_FOUND)


def test_an_address_is_not_looked_for_on_this_machine() -> None:
    assert resolve("ssh://git@example.org/a.git/", "/").key == "ssh://git@example.org/a.git"
