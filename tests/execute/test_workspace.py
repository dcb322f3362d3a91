"""Workspaces: filled from the mirror, private, and gone afterwards whatever a job did to them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.execute.workspace import Source, Workspace, prepare, remove
from surveil.mirror.spare import Spares
from surveil.protocol import Assign
from tests.execute.conftest import job, make_repository


def assign(repo: Path, sha: str) -> Assign:
    return Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(repo), ref="refs/heads/main",
        sha=sha, spec=job("echo one", "echo two"),
    )  # fmt: skip


def source(folder: Path) -> Source:
    return Source(folder / "mirrors", Spares(folder / "spares"))


@pytest.fixture
def repo(tmp_path: Path) -> tuple[Path, str]:
    return tmp_path / "repo", make_repository(tmp_path / "repo")


def test_a_workspace_holds_the_commit_the_scripts_and_private_folders(tmp_path: Path, repo: tuple[Path, str]) -> None:
    workspace = Workspace.below(tmp_path / "space")
    prepare(workspace, source(tmp_path), assign(*repo))
    assert (workspace.work / "hello").read_text() == "hello\n"
    assert [workspace.script(index).read_text() for index in (0, 1)] == ["echo one", "echo two"]
    for folder in (workspace.home, workspace.tmp):
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_an_earlier_try_left_is_not_seen(tmp_path: Path, repo: tuple[Path, str]) -> None:
    workspace = Workspace.below(tmp_path / "space")
    workspace.work.mkdir(parents=True)
    (workspace.work / "planted").touch()
    prepare(workspace, source(tmp_path), assign(*repo))
    assert sorted(path.name for path in workspace.work.iterdir()) == [".git", "hello"]


def test_a_commit_that_is_not_there_is_a_sentence(tmp_path: Path, repo: tuple[Path, str]) -> None:
    with pytest.raises(InfrastructureError, match="b" * 40):
        prepare(Workspace.below(tmp_path / "space"), source(tmp_path), assign(repo[0], "b" * 40))


def test_a_job_cannot_lead_the_deletion_outside_by_links(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "space"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "dear").write_text("kept")
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "inner" / "dear")
    (root / "loop").symlink_to(root)
    os.link(outside / "inner" / "dear", root / "hard")
    remove(root)
    assert not root.exists()
    assert (outside / "inner" / "dear").read_text() == "kept"


def test_a_link_in_the_place_of_the_workspace_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "dear").touch()
    (tmp_path / "space").symlink_to(outside)
    remove(tmp_path / "space")
    assert not (tmp_path / "space").is_symlink()
    assert (outside / "dear").exists()


def test_folders_without_rights_strange_names_and_special_files_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "space"
    locked = root / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff\n name")).touch()
    locked.chmod(0)
    (root / "locked").chmod(0o500)
    _as_nobody(root)


def _as_nobody(root: Path) -> None:
    """Rights mean nothing to root, so the deletion is tried as somebody else where that is possible."""
    if os.geteuid() != 0:
        remove(root)
        assert not root.exists()
        return
    parent = root.parent
    subprocess.run(["chown", "-R", "65534:65534", str(parent)], check=True)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # From inside, because the folders above may be open to root alone, as those of a runner are.
            os.chdir(parent)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            remove(Path(root.name))
            status = int(Path(root.name).exists())
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert not root.exists()


def test_a_nest_deeper_than_any_path_may_be_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "space"
    root.mkdir()
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3_000):
        os.mkdir("deep", dir_fd=folder)
        deeper = os.open("deep", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    remove(root)
    assert not root.exists()


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
