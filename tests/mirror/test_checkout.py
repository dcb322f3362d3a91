"""Work trees: exactly the commit, nothing that runs, nothing shared with another work tree."""

import os
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.checkout import checkout
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import Repository, make_repository


@pytest.fixture(params=["local", "remote"])
def mirror(request: pytest.FixtureRequest, repository: Repository, tmp_path: Path) -> Mirror:
    """A mirror of `repository`, once by its path and once through a git daemon."""
    if request.param == "local":
        return Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    return Mirror(tmp_path / "mirrors", parse(request.getfixturevalue("daemon") + "/source/.git", "/"))


def files(tree: Path) -> dict[str, str]:
    """Every file of a work tree with its text."""
    paths = (path for path in sorted(tree.rglob("*")) if ".git" not in path.parts and path.is_file())
    return {str(path.relative_to(tree)): path.read_text() for path in paths}


def make(mirror: Mirror, sha: str, tree: Path, ref: str = "refs/heads/main") -> Repository:
    mirror.fetch(sha, ref)
    checkout(mirror, sha, tree, ref)
    return Repository(tree)


def test_the_work_tree_holds_exactly_the_commit(mirror: Mirror, repository: Repository, tmp_path: Path) -> None:
    old = repository.git("rev-parse", "HEAD")
    script = repository.path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    sha = repository.commit("Second", hello__txt="changed\n")
    repository.commit("Third", hello__txt="changed again\n")
    tree = make(mirror, sha, tmp_path / "tree")
    assert files(tree.path) == {"hello.txt": "changed\n", "run.sh": "#!/bin/sh\n"}
    assert os.access(tree.path / "run.sh", os.X_OK)
    assert tree.git("rev-parse", "HEAD") == sha
    assert tree.git("status", "--porcelain") == ""
    assert tree.git("log", "--format=%H").splitlines() == [sha, old]
    assert tree.git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert tree.git("rev-parse", "origin/main") == sha


def test_a_commit_of_a_detached_head_is_checked_out(mirror: Mirror, repository: Repository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "--detach")
    sha = repository.commit("On no branch", hello__txt="detached\n")
    tree = make(mirror, sha, tmp_path / "tree", "HEAD")
    assert files(tree.path) == {"hello.txt": "detached\n"}


def test_tags_are_there_for_versions_that_are_made_of_them(
    mirror: Mirror, repository: Repository, tmp_path: Path
) -> None:
    repository.git("tag", "--annotate", "--message=One", "v1.0")
    sha = repository.commit("Second")
    tree = make(mirror, sha, tmp_path / "tree")
    assert tree.git("describe", "--tags").startswith("v1.0-1-g")


def test_origin_is_the_address_without_a_password(repository: Repository, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    tree = make(mirror, repository.git("rev-parse", "HEAD"), tmp_path / "tree")
    assert tree.git("remote", "get-url", "origin") == str(repository.path)


def test_hooks_filters_and_submodules_of_the_repository_do_nothing(repository: Repository, tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    inner = make_repository(tmp_path / "inner")
    inner_sha = inner.commit("Inner", a__txt="a")
    repository.git("config", "filter.evil.smudge", f"touch {mark}")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner_sha},module")
    for name in ("post-checkout", "post-index-change"):
        hook = repository.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    (repository.path / ".gitattributes").write_text("* filter=evil\n")
    (repository.path / ".gitmodules").write_text(
        '[submodule "module"]\n\tpath = module\n\turl = ext::sh -c "touch pwned"\n'
    )
    repository.git("add", ".gitattributes", ".gitmodules")
    repository.git("commit", "--quiet", "--message=Evil")
    mark.unlink(missing_ok=True)
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    tree = make(mirror, repository.git("rev-parse", "HEAD"), tmp_path / "tree")
    assert not mark.exists()
    assert list((tree.path / "module").iterdir()) == []
    assert not (tree.path / ".git" / "hooks").exists()


def test_odd_file_names_and_links_are_files_and_links(repository: Repository, tmp_path: Path) -> None:
    for name in (b"-rf", b"line\nbreak", b'quo"te', b"caf\xe9", b"trailing "):
        (Path(os.fsdecode(os.fsencode(repository.path) + b"/" + name))).write_text("x")
    (repository.path / "out").symlink_to("/etc/passwd")
    (repository.path / "loop").symlink_to("loop")
    sha = repository.commit("Odd")
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    tree = make(mirror, sha, tmp_path / "tree")
    made, wanted = ({path.name for path in folder.iterdir()} for folder in (tree.path, repository.path))
    assert made == wanted
    assert (tree.path / "out").readlink() == Path("/etc/passwd")


def test_a_tree_that_would_write_into_git_is_refused(repository: Repository, tmp_path: Path) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"[core]\n\tfsmonitor = touch pwned\n")
    inner = repository.git("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    outer = repository.git("mktree", stdin=f"040000 tree {inner}\t.git\n".encode())
    sha = repository.git("commit-tree", outer, "-m", "Evil")
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    mirror.fetch(sha)
    with pytest.raises(MirrorError):
        checkout(mirror, sha, tmp_path / "tree")
    assert "fsmonitor" not in (tmp_path / "tree" / ".git" / "config").read_text()


def test_a_sha256_commit_is_checked_out(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "long", "--object-format=sha256")
    sha = repository.commit("Long", a__txt="a")
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    assert files(make(mirror, sha, tmp_path / "tree").path) == {"a.txt": "a"}


def test_a_missing_file_of_a_damaged_repository_is_the_repositorys_fault(
    repository: Repository, tmp_path: Path
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    blob = repository.git("rev-parse", "HEAD:hello.txt")
    (repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    mirror.fetch(sha)
    with pytest.raises(MirrorError) as refused:
        checkout(mirror, sha, tmp_path / "tree")
    assert refused.value.trouble is Trouble.CORRUPT


def test_a_folder_that_cannot_be_made_is_said_so(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    sha = repository.git("rev-parse", "HEAD")
    mirror.fetch(sha)
    with pytest.raises(MirrorError, match="No work tree"):
        checkout(mirror, sha, tmp_path / "file" / "tree")


def test_two_work_trees_of_one_mirror_share_nothing_that_can_be_written(
    mirror: Mirror, repository: Repository, tmp_path: Path
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    one, two = make(mirror, sha, tmp_path / "one"), make(mirror, sha, tmp_path / "two")
    one.commit("Made by a step", hello__txt="mine\n")
    one.git("tag", "made-by-a-step")
    assert two.git("rev-parse", "HEAD") == sha
    assert two.git("tag") == ""
    assert files(two.path) == {"hello.txt": "hello\n"}
    assert not mirror.path.joinpath("refs", "tags", "made-by-a-step").exists()


def test_a_mirror_that_lost_a_file_is_replaced_before_the_repository_is_blamed(
    repository: Repository, daemon: str, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "mirrors", parse(daemon + "/source/.git", "/"))
    sha = repository.git("rev-parse", "HEAD")
    mirror.fetch(sha, "refs/heads/main")
    inside = Repository(mirror.path)
    (pack,) = (mirror.path / "objects" / "pack").glob("*.pack")
    aside = tmp_path / pack.name
    for path in (mirror.path / "objects" / "pack").glob("pack-*"):
        path.rename(tmp_path / path.name)
    inside.git("unpack-objects", "-q", stdin=aside.read_bytes())
    blob = repository.git("rev-parse", "HEAD:hello.txt")
    (mirror.path / "objects" / blob[:2] / blob[2:]).unlink()
    checkout(mirror, sha, tmp_path / "tree", "refs/heads/main")
    assert files(tmp_path / "tree") == {"hello.txt": "hello\n"}
