"""Bundles between mirrors of real repositories: what is carried, what is left out, and what is refused."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from surveil.mirror import bundle
from surveil.mirror.address import Address, Kind, parse
from surveil.mirror.bundle import make_bundle, take_bundle, tips
from surveil.mirror.checkout import checkout
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import kept_ref
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import ENVIRONMENT, Repository, make_repository

NOISE = "".join(f"{number * 7919 % 10007}\n" for number in range(20_000))
"""What compresses badly, so that sending it shows."""


@pytest.fixture
def there(repository: Repository, tmp_path: Path) -> Mirror:
    """The mirror of a machine that reaches the repository."""
    return Mirror(tmp_path / "there", parse(str(repository.path), "/"))


@pytest.fixture
def here(tmp_path: Path) -> Mirror:
    """A mirror of a machine on which nothing is at the repository's path."""
    return Mirror(tmp_path / "here", Address(kind=Kind.LOCAL, key="/nowhere/source"))


@contextmanager
def carried(mirror: Mirror, sha: str, have: tuple[str, ...] = ()) -> Iterator[IO[bytes]]:
    with TemporaryFile() as file:
        assert make_bundle(mirror, sha, have, file) == file.seek(0, 2)
        yield file


def bytes_of(mirror: Mirror, sha: str, have: tuple[str, ...] = ()) -> bytes:
    with carried(mirror, sha, have) as file:
        file.seek(0)
        return file.read()


def take(mirror: Mirror, sha: str, content: bytes, ref: str | None = None) -> None:
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        take_bundle(mirror, sha, file, ref)


def fsck(mirror: Mirror) -> None:
    subprocess.run(
        ["git", f"--git-dir={mirror.path}", "fsck", "--full", "--strict", "--connectivity-only"],
        check=True, env=ENVIRONMENT, capture_output=True,
    )  # fmt: skip


def test_a_commit_gets_whole_into_a_mirror_that_cannot_reach_its_repository(
    there: Mirror, here: Mirror, repository: Repository, tmp_path: Path
) -> None:
    sha = repository.commit("Second", more__txt="more\n")
    with pytest.raises(MirrorError):
        here.fetch(sha)
    take(here, sha, bytes_of(there, sha), "refs/heads/main")
    assert here.has(sha)
    assert here.read(sha, ["more.txt"]).files == {"more.txt": b"more\n"}
    assert tips(here) == (sha,)
    fsck(here)
    checkout(here, sha, tmp_path / "work", "refs/heads/main")
    assert (tmp_path / "work" / "hello.txt").read_text() == "hello\n"
    assert Repository(tmp_path / "work").git("log", "--format=%s") == "Second\nFirst"


def test_only_what_is_lacking_is_carried(there: Mirror, here: Mirror, repository: Repository) -> None:
    first = repository.commit("Noise", noise__txt=NOISE)
    whole = bytes_of(there, first)
    take(here, first, whole, "refs/heads/main")
    second = repository.commit("A line more", noise__txt=NOISE + "one more\n")
    thin = bytes_of(there, second, tips(here))
    assert len(whole) > 20_000
    assert len(thin) < 1_000
    take(here, second, thin, "refs/heads/main")
    assert here.read(second, ["noise.txt"]).files["noise.txt"].decode() == NOISE + "one more\n"
    assert tips(here) == (second,)
    fsck(here)


def test_what_the_other_side_never_heard_of_is_passed_over(there: Mirror, here: Mirror, repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    blob = repository.git("rev-parse", "HEAD:hello.txt")
    take(here, sha, bytes_of(there, sha, ("1" * 40, blob)))
    assert here.has(sha)


def test_a_bundle_that_builds_on_what_is_not_there_leaves_nothing(
    there: Mirror, here: Mirror, repository: Repository
) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("Second", more__txt="more\n")
    with pytest.raises(MirrorError) as refused:
        take(here, second, bytes_of(there, second, (first,)))
    assert refused.value.trouble is Trouble.CORRUPT
    assert not here.has(second)
    take(here, second, bytes_of(there, second))
    assert here.has(second)


def test_tags_of_the_commits_history_come_along(
    there: Mirror, here: Mirror, repository: Repository, tmp_path: Path
) -> None:
    repository.git("tag", "--annotate", "--message=One", "v1")
    repository.git("tag", "light")
    repository.git("tag", "file", "HEAD:hello.txt")
    sha = repository.commit("Second")
    repository.git("checkout", "--quiet", "--orphan", "elsewhere")
    repository.commit("Of no concern")
    repository.git("tag", "other")
    take(here, sha, bytes_of(there, sha))
    assert sorted(here.tags()) == ["refs/tags/light", "refs/tags/v1"]
    checkout(here, sha, tmp_path / "work")
    assert Repository(tmp_path / "work").git("describe") == f"v1-1-g{sha[:7]}"


def test_tags_that_cannot_stand_beside_older_ones_take_their_place(
    there: Mirror, here: Mirror, repository: Repository
) -> None:
    repository.git("tag", "v1")
    first = repository.git("rev-parse", "HEAD")
    take(here, first, bytes_of(there, first))
    repository.git("tag", "--delete", "v1")
    repository.git("tag", "v1/rc")
    second = repository.commit("Second")
    take(here, second, bytes_of(there, second, (first,)))
    assert sorted(here.tags()) == ["refs/tags/v1/rc"]


def test_of_very_many_tags_the_nearest_come(
    there: Mirror, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = ""
    for number in range(5):
        sha = repository.commit(f"Number {number}")
        repository.git("tag", f"v{number}")
    monkeypatch.setattr(bundle, "TAGS_MAX", 2)
    header = bytes_of(there, sha).split(b"\n\n")[0]
    assert [line.split(b"/")[-1] for line in header.split(b"\n") if b"refs/tags" in line] == [b"v4", b"v3"]


def test_git_itself_reads_what_is_carried(there: Mirror, repository: Repository, tmp_path: Path) -> None:
    sha = repository.commit("Second")
    file = tmp_path / "carried.bundle"
    file.write_bytes(bytes_of(there, sha))
    assert "The bundle records a complete history." in repository.git("bundle", "verify", str(file))


def test_what_a_git_that_lost_its_power_left_locked_stands_in_nobodys_way(
    there: Mirror, here: Mirror, repository: Repository
) -> None:
    first, second = repository.commit("First"), repository.commit("Second")
    take(here, first, bytes_of(there, first), "refs/heads/main")
    ref = here.path / kept_ref(second, "refs/heads/main")
    ref.with_name(f"{ref.name}.lock").touch()
    (here.path / "packed-refs.lock").touch()
    take(here, second, bytes_of(there, second), "refs/heads/main")
    assert tips(here) == (second,)


def test_a_commit_that_was_forced_away_at_a_remote_is_still_carried(
    daemon: str, here: Mirror, repository: Repository, tmp_path: Path
) -> None:
    sha = repository.commit("Second")
    there = Mirror(tmp_path / "there", parse(daemon + "/source/.git", "/"))
    there.fetch(sha, "refs/heads/main")
    repository.git("reset", "--hard", "--quiet", "HEAD~1")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    take(here, sha, bytes_of(there, sha))
    assert here.has(sha)


def test_a_repository_of_the_longer_hash_is_carried_as_well(here: Mirror, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "long", "--object-format=sha256")
    sha = repository.commit("First", a__txt="a")
    there = Mirror(tmp_path / "there", parse(str(repository.path), "/"))
    take(here, sha, bytes_of(there, sha))
    assert here.has(sha)
    file = tmp_path / "carried.bundle"
    file.write_bytes(bytes_of(there, sha))
    assert repository.git("bundle", "list-heads", str(file)) == f"{sha} refs/surveil/commit"


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_single_wrong_byte_is_refused_and_nothing_stays(
    there: Mirror, here: Mirror, repository: Repository, place: float
) -> None:
    sha = repository.commit("Noise", noise__txt=NOISE)
    content = bytearray(bytes_of(there, sha))
    content[int(len(content) * place)] ^= 1
    with pytest.raises(MirrorError) as refused:
        take(here, sha, bytes(content))
    assert refused.value.trouble is Trouble.CORRUPT
    assert not here.has(sha)


@pytest.mark.parametrize("content", [b"", b"# v2 git bundle\n", b"PACK\0\0\0\2", b"\n\n", bytes(100)])
def test_what_is_no_bundle_is_refused(here: Mirror, content: bytes) -> None:
    with pytest.raises(MirrorError) as refused:
        take(here, "1" * 40, content)
    assert refused.value.trouble is Trouble.CORRUPT


def test_a_bundle_that_is_cut_short_is_refused(there: Mirror, here: Mirror, repository: Repository) -> None:
    sha = repository.commit("Noise", noise__txt=NOISE)
    with pytest.raises(MirrorError) as refused:
        take(here, sha, bytes_of(there, sha)[:-500])
    assert refused.value.trouble is Trouble.CORRUPT
    assert not here.has(sha)


def test_a_bundle_of_another_commit_is_refused(there: Mirror, here: Mirror, repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("Second")
    content = bytes_of(there, first)
    with pytest.raises(MirrorError):
        take(here, second, content)
    # A header may claim what it likes: the objects tell.
    with pytest.raises(MirrorError) as refused:
        take(here, second, content.replace(first.encode(), second.encode()))
    assert refused.value.trouble is Trouble.CORRUPT
    assert not here.has(second)


def test_objects_that_could_hurt_a_reader_are_refused(there: Mirror, here: Mirror, repository: Repository) -> None:
    empty = repository.git("hash-object", "-w", "--stdin", stdin=b"")
    evil = repository.git("mktree", stdin=f"100644 blob {empty}\t.git\n".encode())
    sha = repository.git("commit-tree", evil, "-m", "Evil")
    with pytest.raises(MirrorError) as refused:
        take(here, sha, bytes_of(there, sha))
    assert refused.value.trouble is Trouble.CORRUPT
    assert not here.has(sha)


def test_a_mirror_that_was_supplied_and_is_damaged_makes_room_for_a_sound_one(
    there: Mirror, here: Mirror, repository: Repository, tmp_path: Path
) -> None:
    sha = repository.commit("Noise", noise__txt=NOISE)
    content = bytes_of(there, sha)
    take(here, sha, content)
    (pack,) = here.path.glob("objects/pack/*.pack")
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        file.write(bytes(1_000))
    with pytest.raises(MirrorError):
        checkout(here, sha, tmp_path / "first")
    assert not here.has(sha)
    take(here, sha, content)
    checkout(here, sha, tmp_path / "second")
    assert (tmp_path / "second" / "noise.txt").read_text() == NOISE


def test_a_repository_that_is_here_but_lacks_the_commit_is_built_upon(
    there: Mirror, repository: Repository, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(clone))
    first, second = repository.git("rev-parse", "HEAD"), repository.commit("Second", more__txt="more\n")
    here = Mirror(tmp_path / "here", parse(str(clone), "/"))
    with pytest.raises(MirrorError) as missing:
        here.fetch(second)
    assert missing.value.trouble is Trouble.MISSING
    take(here, second, bytes_of(there, second, (first,)))
    assert here.has(second)
    here.fetch(first)
    assert here.read(second, ["more.txt"]).files == {"more.txt": b"more\n"}


def test_a_commit_that_nobody_has_is_missing(there: Mirror) -> None:
    with pytest.raises(MirrorError) as missing, TemporaryFile() as file:
        make_bundle(there, "1" * 40, (), file)
    assert missing.value.trouble is Trouble.MISSING


def test_a_shallow_clone_says_what_to_type(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Second")
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    there = Mirror(tmp_path / "there", parse(str(tmp_path / "shallow"), "/"))
    with pytest.raises(MirrorError, match="git fetch --unshallow"):
        bytes_of(there, repository.git("rev-parse", "HEAD"))


def test_a_bundle_beyond_the_limit_is_not_made(
    there: Mirror, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = repository.commit("Noise", noise__txt=NOISE)
    monkeypatch.setattr(bundle, "BUNDLE_BYTES_MAX", 10_000)
    with pytest.raises(MirrorError) as refused:
        bytes_of(there, sha)
    assert refused.value.trouble is Trouble.TOO_LARGE


def test_a_disk_that_is_full_is_said_so(there: Mirror, repository: Repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(MirrorError) as refused:  # noqa: PTH123
        make_bundle(there, sha, (), _Buffered(full))  # type: ignore[arg-type]
    assert refused.value.trouble is Trouble.NO_SPACE


class _Buffered:
    """A file whose every write goes through."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return int(self._file.write(data))

    def writelines(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            self.write(line)
