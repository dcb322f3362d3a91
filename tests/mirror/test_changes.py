"""Which files a commit changes, compared with what."""

from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.changes import Base, asks_for_changes, changed_paths
from surveil.mirror.mirror import CHANGED_BYTES_MAX, CHANGED_MAX, Mirror
from tests.mirror.repositories import Repository

MAIN = "refs/heads/main"


@pytest.fixture(params=["path", "server"])
def mirror(request: pytest.FixtureRequest, repository: Repository, tmp_path: Path, daemon: str) -> Mirror:
    address = str(repository.path) if request.param == "path" else f"{daemon}/source/.git"
    return Mirror(tmp_path / "mirrors", parse(address, "/"))


def changed(mirror: Mirror, sha: str, ref: str = MAIN, before: str | None = None, base: str = "") -> object:
    mirror.fetch(sha, ref)
    known = Base(ref=MAIN, sha=base) if base else Base()
    merging = ref.startswith("refs/pull/")
    return changed_paths(mirror, sha, ref, before=before, base=known, merging=merging)


def test_a_branch_that_moved_is_compared_with_where_it_was(repository: Repository, mirror: Mirror) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.commit("Two", a__txt="a")
    repository.git("mv", "hello.txt", "héllo.txt")
    last = repository.commit("Three")
    assert changed(mirror, last, before=first) == ("a.txt", "hello.txt", "héllo.txt")
    # Going back changes as much.
    assert changed(mirror, first, before=last) == ("a.txt", "hello.txt", "héllo.txt")
    assert changed(mirror, last, before=last) == ()


def test_a_new_branch_and_what_is_to_be_merged_are_compared_with_where_they_parted(
    repository: Repository, mirror: Mirror
) -> None:
    repository.git("checkout", "--quiet", "-b", "topic")
    repository.commit("Theirs", theirs__txt="t")
    topic = repository.commit("Theirs too", more__txt="t")
    repository.git("update-ref", "refs/pull/5/head", topic)
    repository.git("checkout", "--quiet", "main")
    main = repository.commit("Ours", ours__txt="o")
    for ref in ("refs/heads/topic", "refs/pull/5/head"):
        assert changed(mirror, topic, ref, base=main) == ("more.txt", "theirs.txt"), ref
    # A second push does not make the first one's files unchanged.
    assert changed(mirror, topic, "refs/pull/5/head", before=f"{topic}", base=main) == ("more.txt", "theirs.txt")


def test_where_a_branch_was_is_gone_and_its_parting_counts(repository: Repository, mirror: Mirror) -> None:
    main = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "-b", "topic")
    topic = repository.commit("Theirs", theirs__txt="t")
    assert changed(mirror, topic, "refs/heads/topic", before="1" * 40, base=main) == ("theirs.txt",)


def test_the_main_branch_at_first_sight_is_compared_with_its_parent(repository: Repository, mirror: Mirror) -> None:
    root = repository.git("rev-parse", "HEAD")
    sha = repository.commit("Two", a__txt="a")
    assert changed(mirror, sha, base=sha) == ("a.txt",)
    assert changed(mirror, root, base=root) is None


def test_what_nobody_knows_is_not_guessed(repository: Repository, mirror: Mirror) -> None:
    sha = repository.commit("Two", a__txt="a")
    assert changed(mirror, sha, "refs/tags/v1", before=repository.git("rev-parse", "HEAD^"), base=sha) is None
    assert changed(mirror, sha, "refs/heads/topic") is None
    repository.git("checkout", "--quiet", "--orphan", "island")
    island = repository.commit("Alone", b__txt="b")
    assert changed(mirror, island, "refs/heads/island", base=sha) is None


def test_more_files_than_anybody_goes_through_are_everything(repository: Repository, mirror: Mirror) -> None:
    first = repository.git("rev-parse", "HEAD")
    for number in range(CHANGED_MAX):
        (repository.path / f"f{number}").write_text("")
    just = repository.commit("Just so many")
    over = repository.commit("One more", another__txt="")
    found = changed(mirror, just, before=first)
    assert isinstance(found, tuple)
    assert len(found) == CHANGED_MAX
    assert changed(mirror, over, before=first) is None
    long = "x" * 200
    for number in range(CHANGED_BYTES_MAX // len(long) + 1):
        (repository.path / f"{long}{number}").write_text("")
    assert changed(mirror, repository.commit("Long names"), before=over) is None


@pytest.mark.parametrize(
    ("texts", "asks"),
    [
        (["on: {push: {paths: [docs/**]}}"], True),
        (["run: make", "when: changed('a')"], True),
        (["run: make"], False),
        ([], False),
    ],
)
def test_a_process_is_spared_where_no_text_could_ask(texts: list[str], *, asks: bool) -> None:
    assert asks_for_changes(texts) == asks
