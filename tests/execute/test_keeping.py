"""Artifacts that cannot be kept: whose fault that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from surveil.execute.collect.collecting import Collection, Work, collect, noted
from surveil.execute.collect.keeping import Artifacts
from surveil.execute.transfer.courier import Courier
from surveil.frozen import replace
from surveil.protocol import ArtifactSpec, Deposited, OnBulk
from tests.execute.test_packing import tree
from tests.execute.test_taking import work

WHEEL = ArtifactSpec(name="wheel", paths=("app",), required=True)


def made(root: Path) -> Work:
    """An attempt that made what it requires."""
    tree(root / "work", "app")
    one = work(root)
    return replace(one, assign=replace(one.assign, spec=replace(one.assign.spec, artifacts=(WHEEL,))))


def refusing() -> Courier:
    """The way to a dispatcher that takes nothing."""
    found: list[Courier] = []

    def say(said: OnBulk, _lost: object) -> None:
        found[0].hear(said.id, Deposited(id=said.id, problem="it is full"))  # type: ignore[union-attr]

    found.append(Courier(say))
    return found[0]


def test_that_the_dispatcher_takes_nothing_is_no_fault_of_the_machines(tmp_path: Path) -> None:
    said = Artifacts(refusing())(made(tmp_path))
    why = "it requires the artifact `wheel`: it could not be brought to the dispatcher: it is full"
    assert (said.missing, said.unkept, said.blameless) == ("", why, True)


def test_that_nothing_can_be_packed_is_the_machines(tmp_path: Path) -> None:
    one = made(tmp_path)
    one.workspace.root.rmdir()
    said = Artifacts(refusing())(one)
    assert said.unkept.startswith("it requires the artifact `wheel`: its files cannot be packed: ")
    assert not said.blameless


@pytest.mark.parametrize("blameless", [True, False])
def test_the_next_process_knows_whose_fault_it_was(tmp_path: Path, *, blameless: bool) -> None:
    one = work(tmp_path)
    told = collect((lambda _: Collection(unkept="x", blameless=blameless),), one, tmp_path, sound=True)
    assert told.blameless == blameless
    assert noted(one.id, tmp_path) == told
