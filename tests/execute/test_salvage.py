"""Logs of services whose keeper was killed: put behind that of the steps once, also where somebody died at it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from surveil.clock import boot_ms
from surveil.execute import files
from surveil.execute.attempts import Folder
from surveil.execute.files import Status, StepStatus
from surveil.execute.logs.spool import SpoolReader, SpoolWriter
from surveil.execute.salvage import salvage
from surveil.execute.workspace import Workspace
from surveil.protocol import Assign, ImageSpec, ServiceSpec
from tests.execute.conftest import job

DB = ServiceSpec(name="db", image=ImageSpec(name="db:1"), env={})
RAN = StepStatus(name="s0", state="running", started_after_ms=1, log_at=0)
SERVED = StepStatus(name="service", state="running", started_after_ms=1)


@pytest.fixture
def left(tmp_path: Path) -> Folder:
    """What a keeper left that was killed amid a line: a job with three services, of which the last never began."""
    spec = replace(job("true"), services=(DB, replace(DB, name="two"), replace(DB, name="three")))
    assign = Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo="r", ref="f", sha="a" * 40, spec=spec,
    )  # fmt: skip
    path = tmp_path / "attempts" / "one"
    folder = Folder(assign=assign, path=path, workspace=Workspace.below(tmp_path / "space"), accepted_boot_ms=0)
    folder.write()
    spool = SpoolWriter(str(path / files.SPOOL), boot_ms)
    spool.append(b"of the step\n", 1)
    spool.append(b"torn off", 2)
    spool.close()
    with (path / files.SPOOL).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 3)
    (path / "service.0.old").write_bytes(b"older, ")
    (path / "service.0").write_bytes(b"newer\n")
    (path / "service.1").write_bytes(b"of two\n")
    told(folder, RAN, SERVED, SERVED, SERVED._replace(state="pending", started_after_ms=None))
    return folder


def told(folder: Folder, *steps: StepStatus, outcome: str = "") -> None:
    status = Status(outcome, "", None, 0, 1, 12, [*steps], "container x")
    files.write_status(str(folder.path), status, sync=False)


def log(folder: Folder) -> bytes:
    reader = SpoolReader(str(folder.path / files.SPOOL))
    found = b""
    reader.look()
    while (chunk := reader.read(len(found), 1 << 16)) is not None:
        found += chunk.data
    reader.close()
    return found


def places(folder: Folder) -> list[int | None]:
    status = folder.status()
    assert status is not None
    return [step.log_at for step in status.steps]


def test_they_are_put_behind_what_is_whole_and_only_once(left: Folder) -> None:
    for _ in range(2):
        assert salvage(left)
        assert log(left) == b"of the step\nolder, newer\nof two\n"
        assert places(left) == [0, 12, 25, None]
    assert [*left.path.glob("service.*")] == []


def test_who_dies_at_it_leaves_some_of_them_and_none_twice(left: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: SpoolWriter, data: bytes, after_ms: int) -> None:
        raise KeyboardInterrupt(data, after_ms)

    with monkeypatch.context() as patched:
        patched.setattr(SpoolWriter, "append", die)
        with pytest.raises(KeyboardInterrupt):
            salvage(left)
    assert salvage(left)
    assert log(left) == b"of the step\nof two\n"
    assert places(left) == [0, 12, 12, None]


def test_a_full_disk_is_said_and_ends_nothing(left: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: SpoolWriter, data: bytes, after_ms: int) -> None:
        raise OSError(28, f"No space left for {len(data)} bytes at {after_ms}")

    monkeypatch.setattr(SpoolWriter, "append", refuse)
    assert salvage(left)
    assert log(left) == b"of the step\n"


def test_what_has_an_end_or_may_be_torn_by_a_power_cut_is_left_alone(left: Folder) -> None:
    before = (left.path / files.SPOOL).read_bytes()
    assert not salvage(replace(left, same_boot=False))
    told(left, RAN, SERVED, outcome="passed")
    assert not salvage(left)
    assert (left.path / files.SPOOL).read_bytes() == before
