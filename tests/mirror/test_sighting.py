"""Which text becomes the pipeline of a commit."""

import json
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.changes import Base
from surveil.mirror.mirror import Mirror
from surveil.mirror.sighting import Sighting, look, look_at_stranger
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import PIPELINE_BYTES_MAX
from tests.mirror.repositories import Repository


def sighting(repository: Repository, tmp_path: Path, sha: str) -> Sighting:
    return look(Mirror(tmp_path / "mirrors", parse(str(repository.path), "/")), sha, "refs/heads/main")


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        ([".surveil.yml", ".runnerci.yml", "narwhal.yml", "Makefile"], ".surveil.yml"),
        ([".runnerci.yml", "narwhal.yml"], ".runnerci.yml"),
        (["narwhal.yml"], "narwhal.yml"),
    ],
)
def test_the_first_pipeline_file_that_is_there_is_taken(
    repository: Repository, tmp_path: Path, present: list[str], chosen: str
) -> None:
    for name in present:
        (repository.path / name).write_text(f"# {name}\n")
    sha = repository.commit("Files")
    assert sighting(repository, tmp_path, sha) == Sighting(
        sha=sha, message="Files", author="Ada", pipeline=f"# {chosen}\n", pipeline_file=chosen
    )


def test_a_byte_order_mark_is_no_part_of_the_text(repository: Repository, tmp_path: Path) -> None:
    (repository.path / ".surveil.yml").write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert sighting(repository, tmp_path, repository.commit("Mark")).pipeline == "version: 1\n"


def test_an_empty_pipeline_file_is_a_text_and_not_its_absence(repository: Repository, tmp_path: Path) -> None:
    (repository.path / ".surveil.yml").write_text("")
    found = sighting(repository, tmp_path, repository.commit("Empty"))
    assert (found.pipeline, found.pipeline_file, found.rule) == ("", ".surveil.yml", "")


def test_what_is_made_up_says_by_which_rule(repository: Repository, tmp_path: Path) -> None:
    (repository.path / "Makefile").write_text("test:\n\ttrue\n")
    (repository.path / "pyproject.toml").write_bytes(b"\xff\xfe")
    found = sighting(repository, tmp_path, repository.commit("Make"))
    assert found.pipeline is not None
    assert found.rule
    assert found.pipeline_file == ".surveil.yml"


def test_a_commit_without_any_file_has_a_problem(repository: Repository, tmp_path: Path) -> None:
    repository.git("rm", "--quiet", "hello.txt")
    found = sighting(repository, tmp_path, repository.commit("Bare"))
    assert found.pipeline is None
    assert found.pipeline_file == ""
    assert found.problem


def test_what_is_no_commit_is_told_from_what_is_not_there(repository: Repository, tmp_path: Path) -> None:
    blob = repository.git("rev-parse", "HEAD:hello.txt")
    for sha, trouble in ((blob, Trouble.NOT_A_COMMIT), ("1" * 40, Trouble.MISSING)):
        with pytest.raises(MirrorError) as refused:
            sighting(repository, tmp_path, sha)
        assert refused.value.trouble is trouble


def test_what_strangers_wrote_gets_the_pipeline_of_the_base_branch(repository: Repository, tmp_path: Path) -> None:
    base = repository.commit("Ours", **{".surveil__yml": "# ours\n"})
    repository.git("checkout", "--quiet", "-b", "fork")
    strange = repository.commit("Theirs", **{".surveil__yml": "# theirs\n"})
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    ours = look_at_stranger(mirror, strange, "refs/pull/5/head", Base(ref="refs/heads/main", sha=base))
    assert ours == Sighting(
        sha=strange, message="Theirs", author="Ada", pipeline="# ours\n", pipeline_file=".surveil.yml"
    )
    nobodys = look_at_stranger(mirror, strange, "refs/pull/5/head", Base())
    assert (nobodys.pipeline, nobodys.sha) == (None, strange)
    assert nobodys.problem.startswith("refs/pull/5/head is not trusted, and HEAD of the repository names no branch")


def test_included_files_come_with_the_commit_that_includes_them(repository: Repository, tmp_path: Path) -> None:
    (repository.path / "ci" / "deep er").mkdir(parents=True)
    (repository.path / "ci" / "deep er" / "b.yml").write_text("jobs: {}\n")
    (repository.path / "ci" / "old.yml").write_bytes(b"\xff")
    (repository.path / "ci" / "link.yml").symlink_to("deep er/b.yml")
    (repository.path / "linked").symlink_to("ci")
    (repository.path / "ci" / "huge.yml").write_text("#" * (PIPELINE_BYTES_MAX + 1))
    (repository.path / "root.yml").write_text("include: [ci/deep er/b.yml]\n")
    names = ["root.yml", "ci/link.yml", "ci", "linked/old.yml", "nowhere.yml", "ci/old.yml", "ci/huge.yml", "a blob 3"]
    text = f"include: {json.dumps(names)}\n"
    sha = repository.commit("Files", **{".surveil.yml": text})
    (repository.path / "root.yml").write_text("another one\n")
    found = sighting(repository, tmp_path, sha)
    assert {file.path: file.text for file in found.includes if file.text is not None} == {
        "root.yml": "include: [ci/deep er/b.yml]\n",
        "ci/deep er/b.yml": "jobs: {}\n",
    }
    assert {file.path: file.problem for file in found.includes if file.text is None} == {
        "ci/link.yml": "is a link or a folder; make it a regular file",
        "ci": "is a link or a folder; make it a regular file",
        "linked/old.yml": "is no file of this commit",
        "nowhere.yml": "is no file of this commit",
        "ci/old.yml": "is not UTF-8 (byte 0); save it as UTF-8",
        "ci/huge.yml": f"has {PIPELINE_BYTES_MAX + 1} bytes; at most {PIPELINE_BYTES_MAX} are allowed",
        "a blob 3": "is no file of this commit",
    }
    assert found.texts == (text, "include: [ci/deep er/b.yml]\n", "jobs: {}\n")


def test_only_a_surveil_file_includes_others(repository: Repository, tmp_path: Path) -> None:
    sha = repository.commit("Files", **{"narwhal.yml": "include: a.yml\n", "a.yml": "x"})
    assert sighting(repository, tmp_path, sha).includes == ()
