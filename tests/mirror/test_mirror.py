"""Mirrors of real repositories: what gets in, what is read from them, and what happens when they are damaged."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.inventory import mirrored
from surveil.mirror.mirror import KEEP_REFS_S, Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import Repository, make_repository

PIPELINE = "version: 1\n"


def local_mirror(repository: Repository, root: Path) -> Mirror:
    return Mirror(root / "mirrors", parse(str(repository.path), "/"))


def remote_mirror(daemon: str, root: Path, path: str = "/source/.git") -> Mirror:
    return Mirror(root / "mirrors", parse(daemon + path, "/"))


@pytest.fixture(params=["local", "remote"])
def mirror(request: pytest.FixtureRequest, repository: Repository, tmp_path: Path) -> Mirror:
    """A mirror of `repository`, once by its path and once through a git daemon."""
    if request.param == "local":
        return local_mirror(repository, tmp_path)
    return remote_mirror(request.getfixturevalue("daemon"), tmp_path)


def test_a_mirror_lists_the_refs_of_its_repository(mirror: Mirror, repository: Repository) -> None:
    sha = repository.commit("Second")
    repository.git("branch", "side")
    repository.git("tag", "--annotate", "--message=Heavy", "v1")
    refs = mirror.refs()
    assert (refs.head, refs.head_sha) == ("refs/heads/main", sha)
    assert dict(refs.refs) == {
        "refs/heads/main": sha,
        "refs/heads/side": sha,
        "refs/tags/v1": repository.git("rev-parse", "refs/tags/v1"),
    }


def test_a_new_commit_gets_into_the_mirror_and_is_read(mirror: Mirror, repository: Repository) -> None:
    sha = repository.commit("Zweite Änderung\n\nMit Text.\n", _surveil__yml=PIPELINE, a__txt="a")
    repository.git("mv", "_surveil.yml", ".surveil.yml")
    sha = repository.commit("Zweite Änderung\n\nMit Text.\n")
    assert not mirror.has(sha)
    mirror.fetch(sha, "refs/heads/main")
    assert mirror.has(sha)
    commit = mirror.read(sha, [".surveil.yml", "nothing.yml"])
    assert (commit.sha, commit.message, commit.author) == (sha, "Zweite Änderung\n\nMit Text.", "Ada")
    assert commit.files == {".surveil.yml": PIPELINE.encode()}
    assert commit.root == (".surveil.yml", "a.txt", "hello.txt")
    assert commit.authored_at_s > 0
    assert (dict(commit.oversized), commit.odd) == ({}, ())


def test_a_tag_of_a_tag_is_read_as_its_commit(mirror: Mirror, repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    repository.git("tag", "--annotate", "--message=Heavy", "v1")
    repository.git("tag", "--annotate", "--message=Heavier", "v2", "v1")
    tag = mirror.refs().refs["refs/tags/v2"]
    mirror.fetch(tag, "refs/tags/v2")
    assert mirror.read(tag).sha == sha


def test_a_tag_of_a_file_is_no_commit(mirror: Mirror, repository: Repository) -> None:
    repository.git("tag", "file", "HEAD:hello.txt")
    blob = mirror.refs().refs["refs/tags/file"]
    mirror.fetch(blob, "refs/tags/file")
    with pytest.raises(MirrorError):
        mirror.read(blob)


def test_a_commit_that_was_rewritten_away_is_missing(mirror: Mirror, repository: Repository) -> None:
    with pytest.raises(MirrorError) as refused:
        mirror.fetch("1" * 40, "refs/heads/main")
    assert refused.value.trouble is Trouble.MISSING


@pytest.mark.parametrize("sha", ["", "HEAD", "-x", "--upload-pack=touch pwned", "A" * 40, "a" * 39, "a" * 41, "a..b"])
def test_what_is_no_sha_never_reaches_git(repository: Repository, tmp_path: Path, sha: str) -> None:
    mirror = local_mirror(repository, tmp_path)
    for call in (mirror.fetch, mirror.has, mirror.read):
        with pytest.raises(MirrorError) as refused:
            call(sha)
        assert refused.value.trouble is Trouble.MISSING


@pytest.mark.parametrize(
    "ref", ["main", "--upload-pack=x", "refs/heads/a b", "refs/heads/a:b", "refs/../x", "refs/heads/*"]
)
def test_what_is_no_ref_never_reaches_git(repository: Repository, tmp_path: Path, ref: str) -> None:
    with pytest.raises(MirrorError):
        local_mirror(repository, tmp_path).fetch("a" * 40, ref)


def test_odd_branch_names_are_fetched(repository: Repository, daemon: str, tmp_path: Path) -> None:
    mirror = remote_mirror(daemon, tmp_path)
    shas = {}
    for name in (b"-dash", b"<script>alert(1)</script>", b"caf\xe9", b"a", b"$(touch;pwned)"):
        shas[name] = repository.commit(f"On {name!r}")
        repository.git("update-ref", b"refs/heads/" + name, shas[name])
    refs = mirror.refs()
    for name, sha in shas.items():
        ref = "refs/heads/" + name.decode("utf-8", "backslashreplace")
        assert refs.refs[ref] == sha
        mirror.fetch(sha, ref)
        assert mirror.has(sha)
    # A branch in the place of a folder, and the other way round.
    repository.git("branch", "--delete", "--force", "a")
    repository.git("branch", "a/b")
    sha = repository.commit("Deeper")
    repository.git("update-ref", "refs/heads/a/b", sha)
    mirror.fetch(sha, "refs/heads/a/b")
    assert mirror.has(sha)


def test_a_force_push_is_told_from_growth(mirror: Mirror, repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("Second")
    repository.git("commit", "--quiet", "--amend", "--message=Other", "--allow-empty")
    other = repository.git("rev-parse", "HEAD")
    mirror.fetch(other, "refs/heads/main")
    assert mirror.grew(first, other)
    assert not mirror.grew(second, other)


@pytest.mark.parametrize(
    ("body", "message", "author"),
    [
        (b"author J\xf6rg <j@x> 1 +0000\ncommitter J <j@x> 1 +0000\n\nGr\xfc\xdfe\n", "Gr\ufffd\ufffde", "J\ufffdrg"),
        (
            b"author J\xf6rg <j@x> 1 +0000\ncommitter J <j@x> 1 +0000\nencoding ISO-8859-1\n\nGr\xfc\xdfe\n",
            "Grüße",
            "Jörg",
        ),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\nencoding Shift_JIS\n\n\x93\xfa\x96{\n", "日本", "A"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\nencoding utf-7\n\n+2AA-\n", "+2AA-", "A"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\nencoding zlib\n\nx\n", "x", "A"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\n\n", "", "A"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\n\na\x00b\n", "a\ufffdb", "A"),
        (b"author  <only@mail> -99 +9999\ncommitter J <j@x> 1 +0000\n\nm", "m", "only@mail"),
        (b"author nobody at all\ncommitter J <j@x> 1 +0000\n\nm", "m", "nobody at all"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\ngpgsig -----\n author Evil <e@x> 2 +0000\n\nm", "m", "A"),
        (b"author A <a@x> 1 +0000\ncommitter J <j@x> 1 +0000\n\n" + b"x" * 1_000_000, "x" * 4000, "A"),
    ],
)
def test_odd_commits_are_read_as_text(
    repository: Repository, tmp_path: Path, body: bytes, message: str, author: str
) -> None:
    sha = repository.raw_commit(b"tree " + repository.tree().encode() + b"\n" + body)
    mirror = local_mirror(repository, tmp_path)
    mirror.fetch(sha)
    commit = mirror.read(sha)
    assert (commit.message, commit.author) == (message, author)
    (commit.message + commit.author).encode()


def test_a_pipeline_file_of_a_gigabyte_is_measured_and_not_read(repository: Repository, tmp_path: Path) -> None:
    sha = repository.commit("Huge", a__yml="x" * 20_000_000, b__yml="version: 1\n")
    mirror = local_mirror(repository, tmp_path)
    mirror.fetch(sha)
    commit = mirror.read(sha, ["b.yml", "a.yml"])
    assert dict(commit.oversized) == {"a.yml": 20_000_000}
    assert commit.files == {"b.yml": b"version: 1\n"}


def test_a_pipeline_file_that_is_a_link_or_a_folder_is_odd(repository: Repository, tmp_path: Path) -> None:
    (repository.path / "link.yml").symlink_to("/etc/passwd")
    (repository.path / "folder.yml").mkdir()
    sha = repository.commit("Odd", **{"folder__yml/x": "x"})
    mirror = local_mirror(repository, tmp_path)
    mirror.fetch(sha)
    commit = mirror.read(sha, ["link.yml", "folder.yml", "none.yml"])
    assert commit.odd == ("link.yml", "folder.yml")
    assert commit.files == {}


def test_a_sha256_repository_is_mirrored(tmp_path: Path, daemon: str) -> None:
    repository = make_repository(tmp_path / "long", "--object-format=sha256")
    sha = repository.commit("Long", a__txt="a")
    for mirror in (local_mirror(repository, tmp_path), remote_mirror(daemon, tmp_path, "/long/.git")):
        assert mirror.refs().head_sha == sha
        mirror.fetch(sha, "refs/heads/main")
        assert mirror.read(sha).message == "Long"


def test_a_shallow_clone_and_a_clone_that_borrows_are_mirrored(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Second")
    sha = repository.commit("Third")
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    repository.git("clone", "--quiet", "--shared", ".", str(tmp_path / "shared"))
    repository.git("clone", "--quiet", "--shared", str(tmp_path / "shared"), str(tmp_path / "twice"))
    for name in ("shallow", "shared", "twice"):
        mirror = local_mirror(Repository(tmp_path / name), tmp_path)
        mirror.fetch(sha)
        assert mirror.read(sha).message == "Third"


def test_a_repository_of_another_kind_at_the_same_path_is_mirrored_anew(repository: Repository, tmp_path: Path) -> None:
    mirror = local_mirror(repository, tmp_path)
    mirror.fetch(repository.git("rev-parse", "HEAD"))
    shutil.rmtree(repository.path)
    again = make_repository(repository.path, "--object-format=sha256")
    sha = again.commit("Reborn")
    mirror.fetch(sha)
    assert mirror.read(sha).message == "Reborn"


@pytest.mark.parametrize("damage", ["pack", "head", "config", "everything"])
def test_a_damaged_mirror_is_replaced(repository: Repository, daemon: str, tmp_path: Path, damage: str) -> None:
    mirror = remote_mirror(daemon, tmp_path)
    mirror.fetch(repository.git("rev-parse", "HEAD"), "refs/heads/main")
    match damage:
        case "pack":
            for pack in (mirror.path / "objects" / "pack").iterdir():
                pack.chmod(0o600)
                pack.write_bytes(pack.read_bytes()[:40])
        case "head":
            (mirror.path / "HEAD").write_bytes(b"\0")
        case "config":
            (mirror.path / "config").write_text("[core\n")
        case "everything":
            shutil.rmtree(mirror.path)
            mirror.path.mkdir()
    sha = repository.commit("After the damage")
    mirror.fetch(sha, "refs/heads/main")
    assert mirror.read(sha).message == "After the damage"


def test_a_damaged_repository_is_an_error_and_not_a_loop(repository: Repository, tmp_path: Path) -> None:
    sha = repository.git("rev-parse", "HEAD")
    (repository.path / ".git" / "objects" / sha[:2] / sha[2:]).chmod(0o600)
    (repository.path / ".git" / "objects" / sha[:2] / sha[2:]).write_bytes(b"")
    mirror = local_mirror(repository, tmp_path)
    mirror.fetch(sha)
    with pytest.raises(MirrorError):
        mirror.read(sha)


def test_locks_and_halves_that_a_killed_git_left_do_not_stop_the_next(
    repository: Repository, daemon: str, tmp_path: Path
) -> None:
    mirror = remote_mirror(daemon, tmp_path)
    mirror.fetch(repository.git("rev-parse", "HEAD"), "refs/heads/main")
    for ref in (mirror.path / "refs" / "surveil").iterdir():
        ref.with_name(ref.name + ".lock").touch()
    (mirror.path / "packed-refs.lock").touch()
    (mirror.path / "objects" / "pack" / "tmp_pack_x").write_bytes(b"half")
    sha = repository.commit("Next")
    mirror.fetch(sha, "refs/heads/main")
    assert mirror.has(sha)


def test_many_threads_share_one_mirror(repository: Repository, daemon: str, tmp_path: Path) -> None:
    shas = [repository.commit(f"Number {number}") for number in range(4)]
    problems: list[MirrorError] = []

    def fetch_all() -> None:
        mirror = remote_mirror(daemon, tmp_path)
        try:
            for sha in shas:
                mirror.fetch(sha, "refs/heads/main")
                mirror.read(sha)
        except MirrorError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=fetch_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_tidying_keeps_what_is_in_use(repository: Repository, daemon: str, tmp_path: Path) -> None:
    mirror = remote_mirror(daemon, tmp_path)
    shas = [repository.commit(f"Number {number}") for number in range(3)]
    for sha in shas:
        mirror.fetch(sha, "refs/heads/main")
    kept = [path for path in (mirror.path / "refs" / "surveil").iterdir() if path.is_file()]
    assert len(kept) == 1
    mirror.tidy()
    mirror.tidy()
    assert kept[0].exists()
    assert mirror.has(shas[-1])
    month_ago = time.time() - KEEP_REFS_S - 60
    os.utime(kept[0], (month_ago, month_ago))
    mirror.tidy()
    assert not kept[0].exists()


def test_a_folder_of_mirrors_names_its_repositories(mirror: Mirror, repository: Repository, tmp_path: Path) -> None:
    assert mirrored(tmp_path / "mirrors") == []
    mirror.fetch(repository.commit("Second"), "refs/heads/main")
    assert mirrored(tmp_path / "mirrors") == [mirror.address.key]
