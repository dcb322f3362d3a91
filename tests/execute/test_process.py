"""The executor that runs attempts as processes: what it tells, what it finds, and that it leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import pytest

from surveil import protocol
from surveil.clock import boot_ms
from surveil.core.run_events import (
    Ended,
    FoundAttempt,
    KeeperLost,
    LogGrew,
    PreparationFailed,
    Prepared,
    StepsChanged,
)
from surveil.execute import attempts, process
from surveil.execute.contract import Broken, Executor, Happening
from surveil.execute.process import ProcessExecutor
from surveil.protocol import Assign, encode
from tests.execute.conftest import job, make_repository

PATIENCE_S = 60.0
Wanted = TypeVar("Wanted")
ONE = ("7/test", 1)


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Desk:
    """An executor and everything that it told."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.executor: Executor = ProcessExecutor(data, "spare")
        self.told: list[Happening] = []
        self.found: list[FoundAttempt] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.found = await self.executor.open(self._tell)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.executor.close()

    def _tell(self, happening: Happening) -> None:
        self.told.append(happening)
        self._news.set()

    async def hear(self, kind: type[Wanted]) -> Wanted:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for happening in self.told:
                    if isinstance(happening, kind):
                        return happening
                self._news.clear()
                await self._news.wait()

    def left(self) -> list[str]:
        return [f"{name}/{path.name}" for name in ("attempts", "workspaces") for path in (self.data / name).iterdir()]

    async def until_clean(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.left():  # noqa: ASYNC110  # A folder has no event.
                await asyncio.sleep(0.02)

    async def started(self, assign: Assign) -> None:
        self.executor.hold(assign, boot_ms())
        self.executor.prepare(assign)
        await self.hear(Prepared)
        self.executor.start(assign, boot_ms(), None)


@pytest.fixture
def assign(tmp_path: Path) -> Assign:
    sha = make_repository(tmp_path / "repo")
    return Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(tmp_path / "repo"),
        ref="refs/heads/main", sha=sha, spec=job("cat hello"),
    )  # fmt: skip


@in_a_loop
async def test_an_attempt_is_told_of_from_its_preparation_to_its_end_and_then_gone(
    tmp_path: Path, assign: Assign
) -> None:
    async with Desk(tmp_path / "data") as desk:
        assert desk.found == []
        await desk.started(assign)
        ended = await desk.hear(Ended)
        assert (ended.id, ended.outcome, ended.log_bytes) == (ONE, "passed", 6)
        chunk = desk.executor.read_log(ONE, 2, 100)
        assert chunk is not None
        assert (chunk.at, chunk.data) == (2, b"llo\n")
        desk.executor.forget(ONE)
        await desk.until_clean()
        assert [type(one) for one in desk.told if not isinstance(one, StepsChanged)][:1] == [Prepared]


@in_a_loop
async def test_the_workspace_goes_with_the_last_process_and_the_log_stays(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        await desk.started(assign)
        await desk.hear(Ended)
        async with asyncio.timeout(PATIENCE_S):
            while any(name.startswith("workspaces") for name in desk.left()):  # noqa: ASYNC110  # A folder has no event.
                await asyncio.sleep(0.02)
        assert desk.executor.read_log(ONE, 0, 100) is not None


@in_a_loop
async def test_a_failed_preparation_leaves_no_workspace(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        lost = replace(assign, sha="b" * 40)
        desk.executor.hold(lost, boot_ms())
        desk.executor.prepare(lost)
        assert "b" * 40 in (await desk.hear(PreparationFailed)).reason
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_an_attempt_forgotten_while_it_is_prepared_is_gone_all_the_same(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        desk.executor.hold(assign, boot_ms())
        desk.executor.prepare(assign)
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_a_kill_ends_the_keeper_and_everything_below_it(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        await desk.started(replace(assign, spec=job("setsid sleep 300 >/dev/null 2>&1 & sleep 300")))
        desk.executor.kill(ONE)
        assert (await desk.hear(KeeperLost)).id == ONE
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_what_is_found_is_taken_up_as_what_it_is_and_rubbish_is_removed(tmp_path: Path, assign: Assign) -> None:
    data = tmp_path / "data"
    go = tmp_path / "go"
    waiting = replace(assign, job="7/waiting", spec=job(f"while [ ! -e {go} ]; do sleep 0.05; done; echo done"))
    dead = replace(assign, job="7/dead", spec=job("sleep 300"))
    async with Desk(data) as first:
        first.executor.hold(replace(assign, job="7/unbegun"), boot_ms())
        for one in (waiting, dead):
            first.told.clear()
            await first.started(one)
            await first.hear(StepsChanged)
        first.told.clear()
        await first.started(assign)
        await first.hear(Ended)
        first.executor.kill(("7/dead", 1))
        await first.hear(KeeperLost)
    (data / "attempts" / "rubbish").mkdir()
    (data / "attempts" / "rubbish" / "accepted.json").write_bytes(b"{")
    (data / "workspaces" / "rubbish").mkdir()
    async with Desk(data) as second:
        found = {one.assign.job: (one.launched, one.kept, one.ended and one.ended.outcome) for one in second.found}
        assert found == {
            "7/unbegun": (False, False, None),
            "7/waiting": (True, True, None),
            "7/dead": (True, False, None),
            "7/test": (True, False, "passed"),
        }
        assert second.told == []
        go.touch()
        assert (await second.hear(Ended)).id == ("7/waiting", 1)
        unbegun = next(one.assign for one in second.found if not one.launched)
        second.told.clear()
        second.executor.prepare(unbegun)
        await second.hear(Prepared)
        second.executor.start(unbegun, boot_ms(), None)
        assert (await second.hear(Ended)).outcome == "passed"
        for left in second.found:
            second.executor.forget((left.assign.job, 1))
        await second.until_clean()


@in_a_loop
async def test_what_another_version_cannot_read_is_there_when_the_first_one_is_back(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, go = tmp_path / "data", tmp_path / "go"
    waiting = replace(assign, job="7/waiting", spec=job(f"while [ ! -e {go} ]; do sleep 0.05; done; echo done"))
    async with Desk(data) as first:
        await first.started(assign)
        await first.hear(Ended)
        first.told.clear()
        await first.started(waiting)
        await first.hear(StepsChanged)
    with monkeypatch.context() as other:
        other.setattr(protocol, "VERSION", 2)
        async with Desk(data) as second:
            assert (second.found, second.told) == ([], [])
    async with Desk(data) as third:
        found = {one.assign.job: (one.kept, one.ended and one.ended.outcome) for one in third.found}
        assert found == {"7/test": (False, "passed"), "7/waiting": (True, None)}
        chunk = third.executor.read_log(ONE, 0, 100)
        assert chunk is not None
        assert chunk.data == b"hello\n"
        go.touch()
        assert (await third.hear(Ended)).outcome == "passed"
        for left in third.found:
            third.executor.forget((left.assign.job, 1))
        await third.until_clean()


@in_a_loop
async def test_what_another_version_left_running_is_ended_when_nobody_asks_for_it_and_its_log_stays(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk(tmp_path / "data") as first:
        await first.started(replace(assign, spec=job("cat hello; setsid sleep 300 & sleep 300")))
        await first.hear(LogGrew)
    (folder,) = (tmp_path / "data" / "attempts").iterdir()
    with monkeypatch.context() as other:
        other.setattr(protocol, "VERSION", 2)
        other.setattr(process, "ALONE_S", 0.0)
        async with Desk(tmp_path / "data"), asyncio.timeout(PATIENCE_S):
            while attempts.held(folder):  # noqa: ASYNC110  # A lock has no event.
                await asyncio.sleep(0.01)
    async with Desk(tmp_path / "data") as third:
        assert [(one.launched, one.kept, one.ended, one.log_bytes) for one in third.found] == [(True, False, None, 6)]
        third.executor.forget(ONE)
        await third.until_clean()


@in_a_loop
async def test_what_another_version_left_is_deleted_after_a_day(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk(tmp_path / "data") as first:
        await first.started(assign)
        await first.hear(Ended)
    (folder,) = (tmp_path / "data" / "attempts").iterdir()
    monkeypatch.setattr(protocol, "VERSION", 2)
    async with asyncio.timeout(PATIENCE_S):
        while attempts.held(folder):  # noqa: ASYNC110  # A lock has no event.
            await asyncio.sleep(0.01)
    for path in (*folder.iterdir(), folder):
        os.utime(path, (yesterday := path.stat().st_mtime - 90_000, yesterday))
    async with Desk(tmp_path / "data") as second:
        await second.until_clean()


@in_a_loop
async def test_an_attempt_whose_note_is_damaged_is_ended_and_removed(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as first:
        await first.started(replace(assign, spec=job("cat hello; sleep 300")))
        await first.hear(LogGrew)
    (folder,) = (tmp_path / "data" / "attempts").iterdir()
    (folder / "accepted.json").write_bytes(b"{")
    (tmp_path / "data" / "attempts" / "rubbish").touch()
    async with Desk(tmp_path / "data") as second:
        assert second.found == []
        await second.until_clean()


@in_a_loop
async def test_after_a_power_cut_nothing_is_taken_for_unbegun(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that would tell may not have been on the platter."""
    async with Desk(tmp_path / "data") as first:
        first.executor.hold(assign, boot_ms())
    monkeypatch.setattr(attempts, "_boot_id", lambda: "another")
    async with Desk(tmp_path / "data") as second:
        assert [(one.launched, one.kept, one.ended, one.accepted_at) for one in second.found] == [
            (True, False, None, 0)
        ]
        second.executor.forget(ONE)
        await second.until_clean()


@in_a_loop
async def test_orders_for_attempts_that_are_not_known_are_no_errors(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        desk.executor.prepare(assign)
        desk.executor.start(assign, 0, None)
        desk.executor.signal(ONE, 0)
        desk.executor.set_lease(ONE, 0)
        desk.executor.kill(ONE)
        desk.executor.forget(ONE)
        assert desk.executor.read_log(ONE, 0, 10) is None
        assert desk.told == []


@in_a_loop
async def test_a_cancel_that_comes_before_the_keeper_listens_is_obeyed(tmp_path: Path, assign: Assign) -> None:
    async with Desk(tmp_path / "data") as desk:
        await desk.started(replace(assign, spec=job("sleep 300")))
        desk.executor.signal(ONE, 0)
        assert (await desk.hear(Ended)).outcome == "cancelled"
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_a_mistake_of_ours_is_told_and_not_waited_for(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nobody foresaw this")

    monkeypatch.setattr(process, "prepare", fail)
    async with Desk(tmp_path / "data") as desk:
        desk.executor.hold(assign, boot_ms())
        desk.executor.prepare(assign)
        assert str((await desk.hear(Broken)).failure) == "nobody foresaw this"


@in_a_loop
async def test_a_request_that_a_killed_agent_left_behind_starts_nothing_any_more(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BIRTH_S", 0.2)
    assign = replace(assign, spec=job(f"touch {tmp_path}/started"))
    frames = [frame.hex() for frame in encode(assign)]
    words = [sys.executable, "-m", "tests.execute.killed_agent", str(tmp_path / "data"), *frames]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as agent:  # noqa: ASYNC220  # It is done in a moment.
        assert agent.stdout is not None
        zygote = psutil.Process(int(await asyncio.to_thread(agent.stdout.readline)))
        folder = next((tmp_path / "data" / "attempts").iterdir())
        async with asyncio.timeout(PATIENCE_S):
            while not attempts.held(folder):  # noqa: ASYNC110  # A lock has no event.
                await asyncio.sleep(0.01)
        agent.kill()
    with contextlib.ExitStack() as ended:
        ended.enter_context(contextlib.suppress(psutil.NoSuchProcess))
        ended.callback(zygote.kill)
        await _assert_nothing_starts(tmp_path, folder, zygote)


async def _assert_nothing_starts(tmp_path: Path, folder: Path, zygote: psutil.Process) -> None:
    """Another agent comes, then the zygote goes on."""
    async with asyncio.timeout(PATIENCE_S):
        # It stands still when it is next given a processor, of which nothing tells.
        while zygote.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with Desk(tmp_path / "data") as desk:
        assert [(one.kept, one.launched, one.ended) for one in desk.found] == [(False, False, None)]
        zygote.resume()
        await asyncio.to_thread(zygote.wait, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while attempts.held(folder):  # noqa: ASYNC110  # A lock has no event.
                await asyncio.sleep(0.01)
        assert "order.json" in (folder / "trouble").read_text()
        assert not (tmp_path / "started").exists()
        desk.executor.forget(ONE)
        await desk.until_clean()
