"""Collecting in the executor: the work tree stays for it, a killed agent begins again, and nothing is left."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.core.run_events import Collected, Ended
from surveil.errors import InfrastructureError
from surveil.execute import attempts, files
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.process import ProcessExecutor
from surveil.protocol import ArtifactSpec, Assign
from tests.execute.conftest import job
from tests.execute.test_process import ONE, PATIENCE_S, Desk, assign, in_a_loop

__all__ = ["assign"]

WANTED = (ArtifactSpec(name="made", paths=("made",), required=True),)


class Collector:
    """Reads what the step made; waits for `go` before it, where there is one."""

    def __init__(self, go: threading.Event | None = None) -> None:
        self.seen: list[str] = []
        self.began = threading.Event()
        self._go = go

    def __call__(self, work: Work) -> Collection:
        self.began.set()
        while self._go is not None and not self._go.wait(0.01):
            work.check()
        self.seen.append((work.workspace.work / "made").read_text())
        return Collection(remarks=(f"it {work.outcome}",))


def desk(data: Path, *collectors: Collector) -> Desk:
    made = Desk(data)
    made.executor = ProcessExecutor(data, "spare", collectors=collectors)
    return made


@pytest.fixture
def keeping(assign: Assign) -> Assign:
    return replace(assign, spec=replace(job("echo work > made"), artifacts=WANTED))


async def begun(collector: Collector) -> None:
    assert await asyncio.to_thread(collector.began.wait, PATIENCE_S)


def workspaces(desk: Desk) -> list[str]:
    return [name for name in desk.left() if name.startswith("workspaces")]


async def until_no_workspace(desk: Desk) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while workspaces(desk):  # noqa: ASYNC110  # A folder has no event.
            await asyncio.sleep(0.02)


@in_a_loop
async def test_the_work_is_there_until_it_is_collected_and_then_it_goes(tmp_path: Path, keeping: Assign) -> None:
    go, second = threading.Event(), Collector()
    first = Collector(go)
    async with desk(tmp_path / "data", first, second) as here:
        await here.started(keeping)
        await here.hear(Ended)
        here.executor.collect(keeping, "passed")
        here.executor.collect(keeping, "passed")
        await begun(first)
        assert workspaces(here)
        go.set()
        assert (await here.hear(Collected)).remarks == ("it passed", "it passed")
        assert (first.seen, second.seen) == (["work\n"], ["work\n"])
        await until_no_workspace(here)
        here.executor.forget(ONE)
        await here.until_clean()
        assert sum(isinstance(one, Collected) for one in here.told) == 1


@in_a_loop
async def test_what_a_collector_cannot_do_is_remarked_and_the_others_do_their_part(
    tmp_path: Path, keeping: Assign
) -> None:
    def broken(_work: Work) -> Collection:
        raise InfrastructureError("it cannot be read")

    other = Collector()
    here = Desk(tmp_path / "data")
    here.executor = ProcessExecutor(here.data, "spare", collectors=(broken, other))
    async with here:
        await here.started(keeping)
        await here.hear(Ended)
        here.executor.collect(keeping, "passed")
        assert (await here.hear(Collected)).remarks == ("it cannot be read", "it passed")
        here.executor.forget(ONE)
        await here.until_clean()


@in_a_loop
async def test_what_is_secret_is_covered_in_what_is_said_of_files(tmp_path: Path, keeping: Assign) -> None:
    secret, here = "a-token-in-a-name", Desk(tmp_path / "data")
    order = replace(keeping, envelope="closed")

    def tells(_work: Work) -> Collection:
        return Collection(remarks=(f"`{secret}` is no file",), missing=f"no {secret}", unkept=secret)

    here.executor = ProcessExecutor(
        here.data, "spare", collectors=(tells,), open_envelope=lambda _: Entrusted({"TOKEN": secret}, {}, [])
    )
    async with here:
        await here.started(order)
        await here.hear(Ended)
        here.executor.collect(order, "passed")
        told = await here.hear(Collected)
        assert (told.remarks, told.missing, told.unkept) == (("`***` is no file",), "no ***", "***")
        (note,) = (here.data / "attempts").rglob(files.COLLECTED)
        assert secret not in note.read_text()
        here.executor.forget(ONE)
        await here.until_clean()


@in_a_loop
async def test_an_agent_that_ends_amid_collecting_leaves_the_work_for_the_next_one(
    tmp_path: Path, keeping: Assign
) -> None:
    never = Collector(threading.Event())
    async with desk(tmp_path / "data", never) as first:
        await first.started(keeping)
        await first.hear(Ended)
        first.executor.collect(keeping, "passed")
        await begun(never)
    assert never.seen == []
    again = Collector()
    async with desk(tmp_path / "data", again) as second:
        assert [(one.ended and one.ended.outcome, one.collected) for one in second.found] == [("passed", None)]
        second.executor.collect(second.found[0].assign, "passed")
        await second.hear(Collected)
        assert again.seen == ["work\n"]
    async with desk(tmp_path / "data") as third:
        assert [one.collected for one in third.found] == [Collected(id=ONE, remarks=("it passed",))]
        await until_no_workspace(third)
        third.executor.forget(ONE)
        await third.until_clean()


@in_a_loop
async def test_an_attempt_forgotten_while_it_is_collected_is_gone_all_the_same(tmp_path: Path, keeping: Assign) -> None:
    never = Collector(threading.Event())
    async with desk(tmp_path / "data", never) as here:
        await here.started(keeping)
        await here.hear(Ended)
        here.executor.collect(keeping, "passed")
        await begun(never)
        here.executor.forget(ONE)
        await here.until_clean()
        assert not any(isinstance(one, Collected) for one in here.told)


@in_a_loop
async def test_after_a_power_cut_the_files_are_not_believed(
    tmp_path: Path, keeping: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path / "data") as first:
        await first.started(keeping)
        await first.hear(Ended)
    monkeypatch.setattr(attempts, "_boot_id", lambda: "another")
    collector = Collector()
    async with desk(tmp_path / "data", collector) as second:
        second.executor.collect(second.found[0].assign, "passed")
        said = await second.hear(Collected)
        sentence = "its files were not kept: the machine lost its power before they were"
        assert (said.remarks, said.unkept) == ((sentence,), f"it requires the artifact made, and {sentence}")
        assert collector.seen == []
        second.executor.forget(ONE)
        await second.until_clean()


@in_a_loop
async def test_a_damaged_note_of_collecting_is_no_note(tmp_path: Path, keeping: Assign) -> None:
    collector = Collector()
    async with desk(tmp_path / "data", collector) as first:
        await first.started(keeping)
        await first.hear(Ended)
        first.executor.collect(keeping, "passed")
        await first.hear(Collected)
    (note,) = (tmp_path / "data" / "attempts").glob(f"*/{files.COLLECTED}")
    note.write_bytes(note.read_bytes().replace(b"passed", b"passee"))
    async with desk(tmp_path / "data", collector) as second:
        assert [one.collected for one in second.found] == [None]
        second.executor.forget(ONE)
        await second.until_clean()
