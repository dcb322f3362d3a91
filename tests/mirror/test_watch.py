"""File events of local repositories: every change of refs stirs its own repository, and little else does."""

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.mirror.local import LocalRepository
from surveil.mirror.trouble import MirrorError
from surveil.mirror.watch import Watch
from tests.mirror.repositories import Repository, make_repository


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.close()


def follow(watch: Watch, repository: Repository) -> LocalRepository:
    reader = LocalRepository(str(repository.path))
    reader.refs()
    watch.follow(str(repository.path), reader.watch_folders())
    return reader


def stirred(watch: Watch, wait_s: float = 10) -> set[str]:
    """What stirred within the time; returns as soon as something did."""
    found: set[str] = set()
    while not found and select.select([watch], [], [], wait_s)[0]:
        found = watch.read()
    return found


@pytest.mark.parametrize("change", ["commit", "branch", "nested", "delete", "tag", "pack", "head", "push"])
def test_every_change_of_refs_stirs(watch: Watch, repository: Repository, tmp_path: Path, change: str) -> None:
    repository.git("branch", "group/member")
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "other"))
    follow(watch, repository)
    assert watch.read() == set()
    match change:
        case "commit":
            repository.commit("Another")
        case "branch":
            repository.git("branch", "another")
        case "nested":
            repository.git("branch", "deep/er/still")
        case "delete":
            repository.git("branch", "--delete", "--force", "group/member")
        case "tag":
            repository.git("tag", "v1")
        case "pack":
            repository.git("pack-refs", "--all")
        case "head":
            repository.git("symbolic-ref", "HEAD", "refs/heads/group/member")
        case "push":
            Repository(tmp_path / "other").git("push", "--quiet", str(repository.path), "main:pushed")
    assert stirred(watch) == {str(repository.path)}


def test_reading_and_staging_stir_nothing(watch: Watch, repository: Repository) -> None:
    follow(watch, repository)
    (repository.path / "new.txt").write_text("new\n")
    repository.git("add", "new.txt")
    repository.git("status")
    repository.git("log")
    assert stirred(watch, 0.2) == set()


def test_each_repository_stirs_for_itself(watch: Watch, repository: Repository, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other")
    follow(watch, repository)
    follow(watch, other)
    other.commit()
    assert stirred(watch) == {str(other.path)}
    watch.read()
    watch.follow(str(other.path), ())
    other.commit()
    assert stirred(watch, 0.2) == set()


def test_two_work_trees_of_one_repository_both_stir(watch: Watch, repository: Repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    follow(watch, repository)
    follow(watch, Repository(tmp_path / "linked"))
    watch.follow(str(repository.path), ())
    repository.commit("Another")
    assert stirred(watch) == {str(tmp_path / "linked")}


def test_folders_that_come_are_followed_and_those_that_go_are_let_go(watch: Watch, repository: Repository) -> None:
    reader = follow(watch, repository)
    repository.git("branch", "group/member")
    assert stirred(watch) == {str(repository.path)}
    reader.refs()
    assert watch.follow(str(repository.path), reader.watch_folders())
    assert not watch.follow(str(repository.path), reader.watch_folders())
    repository.git("branch", "group/second")
    assert stirred(watch) == {str(repository.path)}
    shutil.rmtree(repository.path)
    assert stirred(watch) == {str(repository.path)}
    watch.read()
    make_repository(repository.path)
    reader.refs()
    assert watch.follow(str(repository.path), reader.watch_folders())
    repository.commit("Reborn")
    assert stirred(watch) == {str(repository.path)}


def test_without_file_events_there_is_a_sentence_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.mirror.watch.INotify", None)
    with pytest.raises(MirrorError, match="polled"):
        Watch()
