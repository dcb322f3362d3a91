"""Artifacts of needed jobs in a work tree: as they were kept, and nothing where that cannot be."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from surveil.execute.archives.packing import pack
from surveil.execute.collect.collecting import Work
from surveil.execute.collect.taking import TakingError, from_dispatcher, in_turn, taking
from surveil.execute.collect.taking_here import TakenHere
from surveil.execute.transfer.courier import Courier
from surveil.execute.workspace import Workspace
from surveil.frozen import replace
from surveil.protocol import ArtifactSpec, Assign, Deposited, DoubtBlob, Fetch, OnBulk, Piece, TakenArtifact
from tests.execute.conftest import job
from tests.execute.test_packing import entry, tree


def work(root: Path, *takes: TakenArtifact) -> Work:
    (root / "space").mkdir(exist_ok=True)
    (root / "work").mkdir(exist_ok=True)
    order = Assign(
        epoch=1, incarnation=1, anchor=1, job="3/use", attempt=1, build=3, repo="r", ref="", sha="a" * 40,
        spec=replace(job("true"), artifacts_from=takes),
    )  # fmt: skip
    return Work(
        assign=order, outcome="passed", workspace=Workspace(root=root / "space", work=root / "work"), since_ns=0,
        unwanted=lambda: False,
    )  # fmt: skip


def packed(folder: Path) -> bytes:
    """An archive of all that is in a folder."""
    file = io.BytesIO()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    pack(folder, names, [], file)
    return file.getvalue()


def take(name: str, job: str = "build", attempt: int = 2) -> TakenArtifact:
    return TakenArtifact(job=job, name=name, attempt=attempt)


def put(root: Path, archives: Mapping[TakenArtifact, bytes]) -> dict[str, str]:
    """What is in the work tree afterwards."""

    def bring(_work: Work, one: TakenArtifact, file: IO[bytes]) -> None:
        file.write(archives[one])

    taking(bring)(work(root, *archives))
    return contents(root / "work")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_each_file_lies_where_its_job_had_it_and_replaces_one_of_the_commit(tmp_path: Path) -> None:
    tree(tmp_path / "work", "version", "dist/old")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/version").write_text("1.2")
    tree(tmp_path / "a", "dist/a.whl")
    (tmp_path / "a/dist/a.whl").chmod(0o755)
    tree(tmp_path / "b", "html/index")
    found = put(tmp_path, {take("a"): packed(tmp_path / "a"), take("b"): packed(tmp_path / "b")})
    assert found == {"version": "1.2", "dist/old": "dist/old", "dist/a.whl": "dist/a.whl", "html/index": "html/index"}
    assert (tmp_path / "work/dist/a.whl").stat().st_mode & 0o777 == 0o755
    assert not list((tmp_path / "space").iterdir())


@pytest.mark.parametrize(("text", "mode"), [("other", 0o644), ("same but longer", 0o644), ("same", 0o755)])
def test_what_two_artifacts_hold_has_to_be_the_same(tmp_path: Path, text: str, mode: int) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app").write_text("same")
    (tmp_path / "c/app").write_text(text)
    (tmp_path / "c/app").chmod(mode)
    one, other, third = (take("files", f"build[v={name}]", 1) for name in "abc")
    same = {one: packed(tmp_path / "a"), other: packed(tmp_path / "b")}
    assert put(tmp_path, same) == {"app": "same"}
    sentence = (
        "the artifact `files` of 3/build[v=c] attempt 1 is not taken: `app` is in the artifact `files` of 3/build[v=a] "
        "attempt 1 as well, and not the same"
    )
    for _ in range(2):  # It is the same each time.
        with pytest.raises(TakingError) as refused:
            put(tmp_path, same | {third: packed(tmp_path / "c")})
        assert (str(refused.value), refused.value.blameless) == (sentence, True)


def test_nothing_of_it_leaves_the_tree_nor_is_gits(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "work/link").symlink_to(tmp_path / "outside")
    tree(tmp_path / "a", "link/x")
    with pytest.raises(TakingError, match="`link/x` cannot be made: something else is in its way"):
        put(tmp_path, {take("a"): packed(tmp_path / "a")})
    assert not list((tmp_path / "outside").iterdir())
    tree(tmp_path / "b", ".git/hooks/post-checkout")
    with pytest.raises(TakingError, match="does not belong in it"):
        put(tmp_path, {take("b"): packed(tmp_path / "b")})
    with pytest.raises(TakingError, match="would lead out of the folder"):
        put(tmp_path, {take("c"): entry("../x") + bytes(1024)})
    assert not (tmp_path / "x").exists()


@dataclass
class Depot:
    """A dispatcher that has one blob under the digest of another until somebody doubts it."""

    sound: bytes
    served: bytes
    mends: bool = True
    doubts: int = 0
    refuses: list[str] = field(default_factory=list)

    def courier(self) -> Courier:
        found: list[Courier] = []

        def say(said: OnBulk, _lost: object) -> None:
            found[0].hear(said.id, self._answer(said))  # type: ignore[union-attr]

        found.append(Courier(say))
        return found[0]

    def _answer(self, said: OnBulk) -> Piece | Deposited:
        if isinstance(said, DoubtBlob):
            self.doubts += 1
            self.served = self.sound if self.mends else self.served
            return Deposited(id=said.id, whole=True)
        assert isinstance(said, Fetch)
        if self.refuses:
            return Piece(id=said.id, at=said.at, problem=self.refuses.pop(), retry_ms=0 if not self.refuses else 1)
        return Piece(id=said.id, at=said.at, data=self.served)


def fetched(root: Path, depot: Depot) -> dict[str, str]:
    one = replace(take("a"), blob=hashlib.sha256(depot.sound).hexdigest(), size=len(depot.sound))
    taking(from_dispatcher(depot.courier()))(work(root, one))
    return contents(root / "work")


def test_what_arrives_damaged_is_doubted_and_fetched_once_more(tmp_path: Path) -> None:
    sound = packed(tree(tmp_path / "a", "app"))
    damaged = bytes([sound[0] ^ 1]) + sound[1:]
    depot = Depot(sound, damaged)
    assert (fetched(tmp_path, depot), depot.doubts) == ({"app": "app"}, 1)


def test_what_stays_damaged_or_is_not_given_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    sound = packed(tree(tmp_path / "a", "app"))
    damaged = bytes([sound[0] ^ 1]) + sound[1:]
    with pytest.raises(TakingError) as error:
        fetched(tmp_path, Depot(sound, damaged, mends=False))
    name = "the artifact `a` of 3/build attempt 2"
    assert str(error.value) == f"{name} is damaged where it is kept; `surveil retry 3` makes it anew"
    assert not error.value.blameless, "the dispatcher has looked, and did not say so"
    with pytest.raises(TakingError) as error:
        fetched(tmp_path, Depot(sound, sound, refuses=["it is gone"]))
    assert str(error.value) == f"{name} cannot be had: it is gone"
    assert error.value.blameless
    assert contents(tmp_path / "work") == {}


def test_who_is_told_to_ask_again_asks_again(tmp_path: Path) -> None:
    sound = packed(tree(tmp_path / "a", "app"))
    depot = Depot(sound, sound, refuses=["never said", "the attempt was given up"])
    with pytest.raises(TakingError, match="never said"):
        fetched(tmp_path, depot)
    assert depot.refuses == []


def test_here_too_it_is_what_was_kept_whatever_became_of_the_file_since(tmp_path: Path) -> None:
    wanted = replace(job("true"), artifacts_from=(take("a", attempt=1),))
    made = work(tmp_path)
    spec = replace(job("true"), name="build", artifacts=(ArtifactSpec(name="a", paths=("app",)),))
    made = replace(made, assign=replace(made.assign, job="0/build", build=0, spec=spec))
    here = TakenHere([wanted])
    user = replace(made, assign=replace(made.assign, job="0/use", spec=wanted))
    with pytest.raises(TakingError) as error:
        taking(here.bring)(user)
    name = "the artifact `a` of build attempt 1"
    assert str(error.value) == f"{name} is not there: no file was kept under this name"
    optional = replace(wanted, artifacts_from=(replace(wanted.artifacts_from[0], optional=True),))
    assert here.without_missing(optional).artifacts_from == ()
    tree(tmp_path / "work", "app", "other")
    assert here(made).remarks == ()
    assert here.without_missing(optional) == optional
    (tmp_path / "work/app").write_text("changed since")
    seen: list[str] = []
    in_turn(lambda _: seen.append((tmp_path / "work/app").read_text()), taking(here.bring))(user)
    assert (seen, contents(tmp_path / "work")) == (["changed since"], {"app": "app", "other": "other"})
    here.close()
