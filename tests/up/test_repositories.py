"""Which repositories `up` is about, and which commit `up --once` tests."""

from pathlib import Path

import pytest

from surveil.client.commits import submission
from surveil.errors import NotFoundError
from surveil.mirror.address import AddressError, parse
from surveil.mirror.trouble import MirrorError
from surveil.up.repositories import find_repositories, read_head
from tests.system.repository import commit, git, make_repository, pipeline


def test_by_default_it_is_the_repository_around_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repository(tmp_path / "repo")
    (repo / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(repo / "deep" / "er")
    assert [address.key for address in find_repositories(())] == [str(repo)]


def test_a_repository_that_is_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = make_repository(tmp_path / "repo")
    (repo / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    typed = ("repo", "repo/folder", "https://example.org/x.git")
    assert [address.key for address in find_repositories(typed)] == [str(repo), "https://example.org/x.git"]


def test_where_there_is_no_repository_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MirrorError, match=r"is not in a git repository; name one, or make one with `git init`\."):
        find_repositories(())
    with pytest.raises(MirrorError, match="There is no folder"):
        find_repositories(("missing",))
    with pytest.raises(AddressError, match="remote helper"):
        find_repositories(("ext::sh -c true",))


def test_the_head_of_a_repository_is_read_with_its_pipeline(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    sha = commit(repo, "Subject\n\nBody", __surveil__yml=pipeline("true"))
    address = parse(str(repo), "/")
    ref, seen = read_head(address, tmp_path / "mirrors")
    assert (ref, seen.sha, seen.message, seen.author) == ("refs/heads/main", sha, "Subject\n\nBody", "Ada")
    assert (seen.pipeline, seen.pipeline_file, seen.rule, seen.problem) == (pipeline("true"), ".surveil.yml", "", "")
    asked = submission(address, ref, seen)
    assert asked.pop("mid").startswith("manual:")
    assert asked == {
        "repo": str(repo),
        "ref": "refs/heads/main",
        "sha": sha,
        "message": "Subject\n\nBody",
        "author": "Ada",
        "pipeline": pipeline("true"),
        "pipeline_file": ".surveil.yml",
        "rule": "",
        "problem": "",
    }


def test_a_detached_head_counts_for_no_branch(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", __surveil__yml=pipeline("true"))
    git(repo, "checkout", "-q", "--detach")
    assert read_head(parse(str(repo), "/"), tmp_path / "mirrors")[0] == "HEAD"


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    with pytest.raises(NotFoundError, match=r"has no commit yet of refs/heads/main: commit something"):
        read_head(parse(str(repo), "/"), tmp_path / "mirrors")
