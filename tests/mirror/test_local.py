"""The refs of local repositories, read without git and compared with what git says."""

import os
from pathlib import Path

import pytest

from surveil.mirror.local import LocalRepository
from surveil.mirror.refs import ref_bytes
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import Repository, make_repository


def git_says(repository: Repository) -> dict[str, str]:
    lines = repository.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    return {name: sha for sha, name in (line.split(" ", 1) for line in lines)}


def agrees(repository: Repository) -> bool:
    """Whether our reader finds what git finds."""
    refs = LocalRepository(str(repository.path)).refs().refs
    found = {os.fsdecode(ref_bytes(name)): sha for name, sha in refs.items()}
    assert found == git_says(repository)
    return bool(found)


def test_an_empty_repository_has_an_unborn_head_and_no_refs(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "empty")
    refs = LocalRepository(str(repository.path)).refs()
    assert (refs.head, refs.head_sha, refs.refs) == ("refs/heads/main", None, {})


def test_a_dangling_head_names_its_branch_beside_the_others(repository: Repository) -> None:
    repository.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    refs = LocalRepository(str(repository.path)).refs()
    assert (refs.head, refs.head_sha, list(refs.refs)) == ("refs/heads/nowhere", None, ["refs/heads/main"])


def test_a_detached_head_names_no_branch(repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "--detach")
    refs = LocalRepository(str(repository.path)).refs()
    assert (refs.head, refs.head_sha) == (None, sha)


def test_head_that_moved_to_another_branch_is_seen(repository: Repository) -> None:
    repository.git("branch", "--move", "main", "trunk")
    refs = LocalRepository(str(repository.path)).refs()
    assert (refs.head, list(refs.refs)) == ("refs/heads/trunk", ["refs/heads/trunk"])


def test_head_as_a_link_is_an_old_way_to_name_a_branch(repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    head = repository.path / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")
    refs = LocalRepository(str(repository.path)).refs()
    assert (refs.head, refs.head_sha) == ("refs/heads/main", sha)


def test_tags_of_both_kinds_hold_what_git_says_they_hold(repository: Repository) -> None:
    repository.git("tag", "light")
    repository.git("tag", "--annotate", "--message=Heavy", "heavy")
    repository.git("tag", "--annotate", "--message=Of a tag", "heavier", "heavy")
    assert agrees(repository)


def test_packed_refs_and_loose_ones_over_them(repository: Repository) -> None:
    repository.git("branch", "old")
    repository.git("tag", "--annotate", "--message=Heavy", "heavy")
    repository.git("pack-refs", "--all")
    repository.commit("Moved since")
    repository.git("branch", "new/with/folders")
    assert agrees(repository)
    reader = LocalRepository(str(repository.path))
    before = reader.refs().refs
    repository.git("branch", "--delete", "--force", "old")
    after = reader.refs().refs
    assert set(before) - set(after) == {"refs/heads/old"}


def test_odd_names_that_git_takes_are_read_and_can_be_given_back(repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    names = [
        b"-dash",
        b"<script>alert(1)</script>",
        b"caf\xe9",
        b"\xff\xfe",
        "bidi\u202e".encode(),
        b"a'b\"c",
        b"x" * 200,
    ]
    for name in names:
        repository.git("update-ref", b"refs/heads/" + name, sha)
    assert agrees(repository)
    repository.git("pack-refs", "--all")
    assert agrees(repository)
    found = LocalRepository(str(repository.path)).refs().refs
    assert all(name.encode("utf-8").decode("utf-8") == name for name in found)
    assert r"refs/heads/caf\xe9" in found


def test_a_symbolic_ref_holds_what_its_target_holds(repository: Repository) -> None:
    repository.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    repository.git("symbolic-ref", "refs/heads/alias-of-alias", "refs/heads/alias")
    assert agrees(repository)


def test_symbolic_refs_in_a_circle_or_into_nothing_hold_nothing(repository: Repository) -> None:
    heads = repository.path / ".git" / "refs" / "heads"
    (heads / "a").write_text("ref: refs/heads/b\n")
    (heads / "b").write_text("ref: refs/heads/a\n")
    (heads / "c").write_text("ref: refs/heads/nowhere\n")
    assert list(LocalRepository(str(repository.path)).refs().refs) == ["refs/heads/main"]


def test_damaged_and_hostile_ref_files_are_passed_over(repository: Repository, tmp_path: Path) -> None:
    heads = repository.path / ".git" / "refs" / "heads"
    secret = tmp_path / "secret"
    secret.write_text("a" * 40)
    (heads / "empty").write_text("")
    (heads / "zero").write_text("0" * 40)
    (heads / "junk").write_bytes(b"\x00\xff junk")
    (heads / "held.lock").write_text("b" * 40)
    (heads / "link").symlink_to(secret)
    os.mkfifo(heads / "pipe")
    (heads / "huge").write_bytes(b"x" * 10_000_000)
    assert list(LocalRepository(str(repository.path)).refs().refs) == ["refs/heads/main"]


def test_a_bare_repository_is_read_like_any_other(repository: Repository, tmp_path: Path) -> None:
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    assert agrees(Repository(tmp_path / "bare.git"))


def test_a_linked_work_tree_has_its_own_head_and_shared_refs(repository: Repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    refs = LocalRepository(str(tmp_path / "linked")).refs()
    assert refs.head == "refs/heads/side"
    assert set(refs.refs) == {"refs/heads/main", "refs/heads/side"}


def test_a_submodule_with_its_git_folder_elsewhere_is_read(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    repository = make_repository(tmp_path / "tree", f"--separate-git-dir={tmp_path / 'kept'}")
    repository.commit()
    assert agrees(repository)


def test_a_sha256_repository_is_read(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "long", "--object-format=sha256")
    sha = repository.commit()
    reader = LocalRepository(str(repository.path))
    assert (reader.layout().object_format, reader.refs().head_sha, len(sha)) == ("sha256", sha, 64)


def test_refs_in_a_storage_that_this_git_does_not_know_are_an_error_and_not_an_empty_list(
    repository: Repository,
) -> None:
    config = repository.path / ".git" / "config"
    config.write_text(config.read_text().replace("repositoryformatversion = 0", "repositoryformatversion = 1"))
    with config.open("a") as file:
        file.write("[extensions]\n\trefStorage = unheard-of\n")
    with pytest.raises(MirrorError):
        LocalRepository(str(repository.path)).refs()


def test_ten_thousand_refs_packed_and_loose(repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    lines = sorted(f"{sha} refs/heads/many/{number}\n" for number in range(10_000))
    (repository.path / ".git" / "packed-refs").write_text("".join(lines))
    for number in range(0, 10_000, 1000):
        repository.git("update-ref", "--no-deref", f"refs/heads/loose/{number}", sha)
    assert agrees(repository)


@pytest.mark.parametrize("make", ["nothing", "file", "folder", "half made", "broken pointer"])
def test_what_is_no_repository_is_said_in_a_sentence(tmp_path: Path, make: str) -> None:
    path = tmp_path / "thing"
    if make == "file":
        path.write_text("no repository")
    elif make != "nothing":
        path.mkdir()
    if make == "half made":
        (path / ".git").mkdir()
    if make == "broken pointer":
        (path / ".git").write_text("gitdir: /nonexistent/repository\n")
    with pytest.raises(MirrorError) as refused:
        LocalRepository(str(path)).refs()
    assert refused.value.trouble is Trouble.NOT_A_REPOSITORY
    assert str(path) in str(refused.value)


def test_a_young_change_leaves_the_signature_uncertain(repository: Repository) -> None:
    reader = LocalRepository(str(repository.path))
    reader.refs()
    assert reader.signature() == ()


@pytest.mark.parametrize("change", ["commit", "branch", "delete", "pack", "head", "nested"])
def test_every_change_of_refs_changes_the_signature(
    repository: Repository, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveil.mirror.local._RACY_NS", -(10**18))
    repository.git("branch", "group/member")
    reader = LocalRepository(str(repository.path))
    reader.refs()
    before = reader.signature()
    assert before
    assert reader.signature() == before
    match change:
        case "commit":
            repository.commit("Another")
        case "branch":
            repository.git("branch", "another")
        case "delete":
            repository.git("branch", "--delete", "--force", "group/member")
        case "pack":
            repository.git("pack-refs", "--all")
        case "head":
            repository.git("symbolic-ref", "HEAD", "refs/heads/group/member")
        case "nested":
            repository.git("branch", "group/deep/er")
    assert reader.signature() != before
