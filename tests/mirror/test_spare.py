"""Spare work trees: whatever lay ready, what comes out is what a fresh checkout gives, to the byte."""

import os
import random
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.checkout import checkout
from surveil.mirror.command import Halt
from surveil.mirror.mirror import Mirror
from surveil.mirror.spare import SPARES_MAX, Spares
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import Repository, make_repository


@pytest.fixture
def mirror(repository: Repository, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))


@pytest.fixture
def spares(tmp_path: Path) -> Spares:
    return Spares(tmp_path / "spares")


def ready(spares: Spares, mirror: Mirror, sha: str) -> Path:
    """Make a spare at a commit, and say where it lies."""
    mirror.fetch(sha)
    spares.make(mirror, sha)
    return lying(spares)[0]


def lying(spares: Spares) -> list[Path]:
    root = spares._root  # noqa: SLF001  # what is on the disk is the point
    return sorted(path / "work" for path in root.iterdir()) if root.exists() else []


def seen(tree: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a work tree that a step could see: kinds, modes, contents; and of git what it says of itself."""
    found = {}
    for folder, folders, files in os.walk(tree):
        if ".git" in folders:
            folders.remove(".git")
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            link, plain = stat.S_ISLNK(status.st_mode), stat.S_ISREG(status.st_mode)
            content = os.fsencode(path.readlink()) if link else path.read_bytes() if plain else b""
            found[str(path.relative_to(tree))] = (status.st_mode, content)
    return found


def assert_like_a_fresh_one(tree: Path, mirror: Mirror, sha: str, ref: str = "") -> None:
    fresh = tree.with_name(tree.name + "-fresh")
    checkout(mirror, sha, fresh, ref)
    assert seen(tree) == seen(fresh)
    for name in ("HEAD", "packed-refs", "config", "objects/info/alternates"):
        assert (tree / ".git" / name).read_bytes() == (fresh / ".git" / name).read_bytes()
    made, wanted = ({path.name for path in (one / ".git").iterdir()} for one in (tree, fresh))
    assert made == wanted
    assert Repository(tree).git("status", "--porcelain", "--ignored") == ""
    assert tree.stat().st_mode == fresh.stat().st_mode


def test_a_spare_is_moved_and_brought_to_the_commit(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path
) -> None:
    for name in ("kept", "changed", "gone"):
        (repository.path / name).write_text(f"{name}\n")
    old = repository.commit("Old")
    identity = (ready(spares, mirror, old) / "kept").stat().st_ino
    (repository.path / "gone").unlink()
    repository.git("tag", "v1")
    new = repository.commit("New", changed="by now\n", new="new\n")
    mirror.fetch(new)
    spares.checkout(mirror, new, tmp_path / "tree", "refs/heads/main")
    assert_like_a_fresh_one(tmp_path / "tree", mirror, new, "refs/heads/main")
    assert (tmp_path / "tree" / "kept").stat().st_ino == identity, "it is the very tree that lay ready"
    assert lying(spares) == []


def test_a_spare_is_given_away_once(mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path) -> None:
    sha = repository.git("rev-parse", "HEAD")
    ready(spares, mirror, sha)
    barrier = threading.Barrier(4)

    def take(number: int) -> None:
        barrier.wait()
        spares.checkout(mirror, sha, tmp_path / f"tree{number}")

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert_like_a_fresh_one(tmp_path / f"tree{number}", mirror, sha)
    assert len({(tmp_path / f"tree{number}" / "hello.txt").stat().st_ino for number in range(4)}) == 4


def change_a_second_later(tree: Path) -> None:
    (tree / "deep" / "file").write_text("fale")
    os.utime(tree / "deep" / "file", (time.time() + 1, time.time() + 1))


def replace_by_a_link(tree: Path) -> None:
    (tree / "deep" / "file").unlink()
    (tree / "deep" / "file").symlink_to("/etc/passwd")


def test_one_that_comes_while_the_spare_is_made_waits_for_it_and_the_next_one_does_not(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    mirror.fetch(sha)
    begun, gate = threading.Event(), threading.Event()

    def slowly(mirror: Mirror, sha: str, destination: Path, ref: str = "") -> None:
        if spares._root in destination.parents:  # noqa: SLF001  # only the spare takes its time
            begun.set()
            assert gate.wait(30)
        checkout(mirror, sha, destination, ref)

    monkeypatch.setattr("surveil.mirror.spare.checkout.checkout", slowly)
    making = threading.Thread(target=spares.make, args=(mirror, sha))
    making.start()
    assert begun.wait(30)
    first = threading.Thread(target=spares.checkout, args=(mirror, sha, tmp_path / "first"))
    first.start()
    while spares._making:  # noqa: SLF001  # until the first one waits
        time.sleep(0.001)
    spares.checkout(mirror, sha, tmp_path / "second")
    assert_like_a_fresh_one(tmp_path / "second", mirror, sha)
    assert not (tmp_path / "first").exists()
    gate.set()
    for thread in (making, first):
        thread.join()
    assert_like_a_fresh_one(tmp_path / "first", mirror, sha)
    assert lying(spares) == [], "the first one got the spare"


def test_one_that_waits_for_a_spare_that_cannot_be_made_makes_its_own(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    mirror.fetch(sha)
    waiting = threading.Thread(target=spares.checkout, args=(mirror, sha, tmp_path / "tree"))

    def fail(*_: object) -> None:
        waiting.start()
        while spares._making:  # noqa: SLF001  # until it waits
            time.sleep(0.001)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("surveil.mirror.spare._look_at", fail)
        with pytest.raises(OSError, match="Input/output"):
            spares.make(mirror, sha)
    waiting.join()
    assert_like_a_fresh_one(tmp_path / "tree", mirror, sha)
    assert lying(spares) == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a file was added": lambda tree: (tree / "deep" / "planted").touch(),
    "a folder was added": lambda tree: (tree / "deep" / "planted").mkdir(),
    "a file was changed": change_a_second_later,
    "a file's mode was changed": lambda tree: (tree / "deep" / "file").chmod(0o755),
    "a file was removed": lambda tree: (tree / "deep" / "file").unlink(),
    "a file became a link": replace_by_a_link,
    "a hook was planted": lambda tree: (tree / ".git" / "hooks").mkdir(),
    "the index is damaged": lambda tree: (tree / ".git" / "index").write_bytes(b"rubbish"),
    "the index is gone": lambda tree: (tree / ".git" / "index").unlink(),
    "git was killed in it": lambda tree: (tree / ".git" / "index.lock").touch(),
    "it is gone": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_spare_that_somebody_touched_does_not_show(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    (repository.path / "deep").mkdir()
    (repository.path / "deep" / "file").write_text("file")
    old = repository.commit("Old")
    tree = ready(spares, mirror, old)
    damage(tree)
    new = repository.commit("New", more="more\n")
    mirror.fetch(new)
    (tmp_path / "tree").mkdir(mode=0o755)
    spares.checkout(mirror, new, tmp_path / "tree")
    assert_like_a_fresh_one(tmp_path / "tree", mirror, new)
    assert lying(spares) == []


def test_files_stand_as_the_commits_own_attributes_want_them(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path
) -> None:
    (repository.path / "deep").mkdir()
    (repository.path / "deep" / "text").write_text("one\ntwo\n")
    commits = [repository.commit("Without")]
    for number, (where, text) in enumerate(
        [("deep", "text eol=crlf\n"), (".", "* ident\n"), ("deep", "text eol=lf\n")]
    ):
        (repository.path / where / ".gitattributes").write_text(text)
        commits.append(repository.commit(f"Attributes {number}"))
    (repository.path / "deep" / ".gitattributes").unlink()
    commits.append(repository.commit("Fewer"))
    for old in commits:
        for new in commits:
            ready(spares, mirror, old)
            tree = tmp_path / f"{old[:8]}-{new[:8]}"
            spares.checkout(mirror, new, tree)
            assert_like_a_fresh_one(tree, mirror, new)


def test_attributes_that_stay_do_not_keep_a_spare_from_being_used(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path
) -> None:
    (repository.path / ".gitattributes").write_text("*.txt eol=crlf\n")
    old = repository.commit("Old")
    identity = (ready(spares, mirror, old) / "hello.txt").stat().st_ino
    new = repository.commit("New", other__txt="other\n")
    spares.checkout(mirror, new, tmp_path / "tree")
    assert (tmp_path / "tree" / "hello.txt").stat().st_ino == identity
    assert (tmp_path / "tree" / "other.txt").read_bytes() == b"other\r\n"
    assert_like_a_fresh_one(tmp_path / "tree", mirror, new)


NAMES = ("a", "b", "a.txt", "d", "d/a", "d/b", "d/e/f", "link", "d/e", ".gitattributes", "d/.gitattributes")


def scribble(tree: Path, dice: random.Random) -> None:
    """Change a few things at random, folders in the place of files and the other way round too."""
    for name in dice.sample(NAMES, dice.randint(1, 5)):
        path = tree / name
        for parent in list(path.relative_to(tree).parents)[:-1]:
            if (tree / parent).is_symlink() or (tree / parent).is_file():
                (tree / parent).unlink()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        what = dice.choice(["file", "file", "program", "link", "nothing"])
        if name.endswith(".gitattributes"):
            path.write_text(dice.choice(["* text eol=crlf\n", "* -text\n", "a ident\n"]))
        elif what == "link":
            path.symlink_to(dice.choice(["a", "d", "nowhere"]))
        elif what != "nothing":
            path.write_text(dice.choice(["one\ntwo\n", "$Id$\n", ""]))
            path.chmod(0o755 if what == "program" else 0o644)


@pytest.mark.parametrize("seed", range(4))
def test_any_two_commits_are_one_step_apart(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    commits = [repository.git("rev-parse", "HEAD")]
    for number in range(8):
        scribble(repository.path, dice)
        commits.append(repository.commit(f"Scribble {number}"))
    for number in range(8):
        old, new = dice.choice(commits), dice.choice(commits)
        ready(spares, mirror, old)
        spares.checkout(mirror, new, tmp_path / f"tree{number}")
        assert_like_a_fresh_one(tmp_path / f"tree{number}", mirror, new)


def test_a_sha256_spare_is_used(tmp_path: Path, spares: Spares) -> None:
    repository = make_repository(tmp_path / "long", "--object-format=sha256")
    (repository.path / ".gitattributes").write_text("* text\n")
    old = repository.commit("Long", a__txt="a", b__txt="b")
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    identity = (ready(spares, mirror, old) / "a.txt").stat().st_ino
    new = repository.commit("Longer", b__txt="c")
    spares.checkout(mirror, new, tmp_path / "tree")
    assert (tmp_path / "tree" / "a.txt").stat().st_ino == identity
    assert_like_a_fresh_one(tmp_path / "tree", mirror, new)


def test_only_the_mirrors_used_last_have_a_spare(tmp_path: Path, spares: Spares) -> None:
    mirrors = []
    for number in range(SPARES_MAX + 2):
        repository = make_repository(tmp_path / f"source{number}")
        sha = repository.commit("One", number=str(number))
        mirrors.append((Mirror(tmp_path / "mirrors", parse(str(repository.path), "/")), sha))
        ready(spares, *mirrors[-1])
        spares.make(*mirrors[-1])
    assert {(tree / "number").read_text() for tree in lying(spares)} == {
        str(number) for number in range(2, SPARES_MAX + 2)
    }
    for number, (mirror, sha) in enumerate(mirrors):
        spares.checkout(mirror, sha, tmp_path / f"tree{number}")
        assert (tmp_path / f"tree{number}" / "number").read_text() == str(number)
    assert lying(spares) == []


def test_a_full_disk_has_no_room_for_spares(
    mirror: Mirror, repository: Repository, spares: Spares, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    ready(spares, mirror, sha)
    full = shutil.disk_usage(tmp_path)._replace(total=1000, free=99)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    other = make_repository(tmp_path / "other")
    second = Mirror(tmp_path / "mirrors", parse(str(other.path), "/"))
    commit = other.commit("One", a="a")
    second.fetch(commit)
    spares.make(second, commit)
    assert lying(spares) == []
    spares.checkout(mirror, sha, tmp_path / "tree")
    assert_like_a_fresh_one(tmp_path / "tree", mirror, sha)


def test_what_an_earlier_process_left_is_removed_and_never_used(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path
) -> None:
    sha = repository.git("rev-parse", "HEAD")
    (ready(spares, mirror, sha) / "planted").touch()
    later = Spares(tmp_path / "spares")
    later.begin()
    assert lying(later) == []
    later.checkout(mirror, sha, tmp_path / "tree")
    assert_like_a_fresh_one(tmp_path / "tree", mirror, sha)


def test_a_spare_that_cannot_be_made_leaves_nothing(mirror: Mirror, repository: Repository, spares: Spares) -> None:
    with pytest.raises(MirrorError):
        spares.make(mirror, "b" * 40)
    assert lying(spares) == []


def test_a_spare_that_somebody_touched_while_it_was_made_is_not_kept(
    mirror: Mirror, repository: Repository, spares: Spares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = repository.commit(a="1")
    mirror.fetch(sha)

    def touched(mirror: Mirror, sha: str, destination: Path) -> None:
        checkout(mirror, sha, destination)
        (destination / "extra").write_text("planted")

    with monkeypatch.context() as patch:
        patch.setattr("surveil.mirror.spare.checkout.checkout", touched)
        with pytest.raises(MirrorError, match="Somebody put a file into"):
            spares.make(mirror, sha)
    assert lying(spares) == []
    spares.checkout(mirror, sha, tmp_path / "work")
    assert_like_a_fresh_one(tmp_path / "work", mirror, sha)


def test_a_process_that_stops_does_not_begin_anew_without_a_spare(
    repository: Repository, spares: Spares, tmp_path: Path
) -> None:
    halt = Halt()
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"), halt)
    sha = repository.git("rev-parse", "HEAD")
    ready(spares, mirror, sha)
    halt.close()
    with pytest.raises(MirrorError) as halted:
        spares.checkout(mirror, sha, tmp_path / "tree")
    assert halted.value.trouble is Trouble.HALTED
