"""Attempts in containers of a real engine: the promises that all attempts have, and none is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surveil.clock import boot_ms
from surveil.core.run_events import Ended, KeeperLost, LogGrew, PreparationFailed, Prepared
from surveil.execute.containers.container import chosen
from surveil.execute.process import ProcessExecutor
from surveil.protocol import Assign, ImageSpec, JobSpec
from tests.engines.docker import Docker
from tests.engines.fixtures import own_engine
from tests.engines.images import BARE, BASH, DASH, PROBE
from tests.execute.conftest import job, make_repository
from tests.execute.test_process import ONE, PATIENCE_S, Desk, Wanted, in_a_loop


@pytest.fixture(autouse=True)
def no_container_left(docker_engine: Docker) -> Iterator[None]:
    """No test may leave a container."""
    yield
    assert docker_engine.names() == []


class Housed(Desk):
    """An executor whose attempts have containers; it closes them."""

    def __init__(self, data: Path, engine: Docker, **limits: int) -> None:
        super().__init__(data)
        found, why = chosen(engine.address, **limits)
        assert found is not None, why
        self.containers = found
        self.executor = ProcessExecutor(data, "spare", containers=found)

    async def hear(self, kind: type[Wanted]) -> Wanted:
        """The same; but what could not be prepared is said at once."""
        failed: asyncio.Task[object] = asyncio.ensure_future(super().hear(PreparationFailed))
        heard = asyncio.ensure_future(super().hear(kind))
        done, waiting = await asyncio.wait((failed, heard), return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        assert heard in done, failed.result()
        return heard.result()

    async def ended(self, assign: Assign) -> Ended:
        """Run an attempt to its end, and forget it."""
        await self.started(assign)
        ended = await self.hear(Ended)
        self.text = self.log()
        self.executor.forget(ONE)
        await self.until_clean()
        return ended

    async def soon(self) -> None:
        """Let time pass."""
        await asyncio.sleep(0.01)

    async def lost(self) -> None:
        """See a killed attempt's end, and forget it."""
        await self.hear(KeeperLost)
        self.executor.forget(ONE)
        await self.until_clean()

    def log(self) -> bytes:
        found = b""
        while (chunk := self.executor.read_log(ONE, len(found), 1 << 18)) is not None:
            found += chunk.data
        return found


def housed(
    *runs: str, image: str = PROBE, pull: Any = "missing", limits: dict[str, Any] | None = None, **how: Any
) -> JobSpec:
    return replace(job(*runs, **how), image=ImageSpec(name=image, pull=pull, **(limits or {})))


@pytest.fixture
def assign(tmp_path: Path) -> Assign:
    sha = make_repository(tmp_path / "repo")
    return Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(tmp_path / "repo"),
        ref="refs/heads/main", sha=sha, spec=housed("cat hello"),
    )  # fmt: skip


@in_a_loop
async def test_steps_run_in_the_container_of_their_job_and_see_what_earlier_ones_did(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    spec = housed(
        "cat hello; echo $FROM_IMAGE $FROM_JOB $PATH; pwd",
        "echo kept > /tmp/x; ls -a / | grep surveil",
        "cat /tmp/x >&2; exit 3",
    )
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        work = tmp_path / "data" / "workspaces"
        first, second, *_ = desk.text.decode().splitlines()
        assert (first, second) == ("hello", "yes 1 /bin")
        assert desk.text.decode().splitlines()[2].startswith(str(work))
        assert desk.text.decode().splitlines()[3:] == [".surveil", "kept"]
        assert (ended.outcome, ended.exit_code, ended.reason) == ("failed", 3, "step 's2' ended with exit code 3")
        assert [(step.state, step.exit_code) for step in ended.steps] == [("passed", 0), ("passed", 0), ("failed", 3)]
        assert ended.isolation.startswith("container sha256:")


@pytest.mark.parametrize("image", [PROBE, DASH, BASH])
@in_a_loop
async def test_a_driver_in_any_shell_starts_asks_and_kills(
    tmp_path: Path, assign: Assign, docker_engine: Docker, image: str
) -> None:
    stubborn = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"
    polite = "trap 'echo asked; exit 7' TERM; echo here; while :; do sleep 0.05; done"
    async with Housed(tmp_path / "data", docker_engine) as desk:
        await desk.started(
            replace(assign, spec=housed("echo one; exit 5", polite, image=image, continue_on_error=True))
        )
        while b"here" not in desk.log():
            await desk.hear(LogGrew)
            await asyncio.sleep(0.01)
        desk.executor.signal(ONE, 60_000)
        ended = await desk.hear(Ended)
        assert (ended.outcome, [step.exit_code for step in ended.steps]) == ("cancelled", [5, 7])
        assert [line for line in desk.log().splitlines() if line != b"Terminated"] == [b"one", b"here", b"asked"]
        desk.executor.forget(ONE)
        await desk.until_clean()
        desk.told.clear()
        await desk.started(replace(assign, spec=housed(stubborn, image=image)))
        while b"deaf" not in desk.log():  # noqa: ASYNC110  # A log has one for the first of it only.
            await asyncio.sleep(0.01)
        desk.executor.signal(ONE, 100)
        assert (await desk.hear(Ended)).steps[0].exit_code == 128 + signal.SIGKILL
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_neither_the_first_nor_the_last_line_is_lost(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        for _ in range(5):
            desk.told.clear()
            await desk.ended(replace(assign, spec=housed("echo first; seq 20000; echo last")))
            lines = desk.text.decode().splitlines()
            assert (lines[0], lines[-1], len(lines)) == ("first", "last", 20002)


@in_a_loop
async def test_a_timeout_stops_the_container_with_all_in_it(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    spec = housed("setsid sleep 1000 & sleep 1000", step_timeout_ms=300)
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        assert (ended.outcome, ended.reason) == ("failed", "step 's0' timed out after 300 ms")


@in_a_loop
async def test_a_container_ends_with_its_keeper_although_nobody_asks_the_engine(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        await desk.started(replace(assign, spec=housed("echo here; sleep 1000")))
        await desk.hear(LogGrew)
        (folder,) = (tmp_path / "data" / "attempts").iterdir()
        keeper = int((folder / "lock").read_text())
        assert len(docker_engine.names()) == 1
    os.kill(keeper, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while docker_engine.running():  # noqa: ASYNC110  # A container has no event.
            await asyncio.sleep(0.05)
    async with Housed(tmp_path / "data", docker_engine) as desk:
        assert [(one.launched, one.kept, one.ended) for one in desk.found] == [(True, False, None)]
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_an_attempt_goes_on_without_its_agent_and_is_taken_up_by_the_next(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        await desk.started(replace(assign, spec=housed('while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo done')))
    (home,) = (tmp_path / "data" / "workspaces").glob("*/home")
    async with Housed(tmp_path / "data", docker_engine) as desk:
        assert [(one.launched, one.kept) for one in desk.found] == [(True, True)]
        (home / "go").touch()
        assert (await desk.hear(Ended)).outcome == "passed"
        assert desk.log() == b"done\n"
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_a_kill_and_what_an_agent_left_behind_leave_no_container(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        await desk.started(replace(assign, spec=housed("sleep 1000")))
        desk.executor.kill(ONE)
        assert (await desk.hear(KeeperLost)).id == ONE
        desk.executor.forget(ONE)
        await desk.until_clean()
        # As if an agent had been killed between starting a container and its keeper.
        desk.told.clear()
        desk.executor.hold(assign, boot_ms())
        desk.executor.prepare(assign)
        await desk.hear(Prepared)
        folder = next(iter(desk.executor._attempts.values())).folder  # type: ignore[attr-defined]  # noqa: SLF001
        await asyncio.to_thread(desk.executor._housing.place, folder)  # type: ignore[attr-defined]  # noqa: SLF001
        assert len(docker_engine.names()) == 1
    for path in (tmp_path / "data" / "attempts").iterdir():
        (path / "accepted.json").unlink()
    async with Housed(tmp_path / "data", docker_engine) as desk, asyncio.timeout(PATIENCE_S):
        while docker_engine.names():  # noqa: ASYNC110  # A container has no event.
            await asyncio.sleep(0.05)
        await desk.until_clean()


@in_a_loop
async def test_limits_that_are_met_are_named(tmp_path: Path, assign: Assign, docker_engine: Docker) -> None:
    # It takes one block into memory, and is the shell itself: the programs of busybox are its own.
    hungry = housed("exec dd if=/dev/zero of=/dev/null bs=200M count=1", limits={"memory_bytes": 64 << 20})
    bomb = housed("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait", limits={"processes": 10})
    async with Housed(tmp_path / "data", docker_engine, processes=100) as desk:
        ended = await desk.ended(replace(assign, spec=hungry))
        assert ended.reason == "step 's0' was killed because it went over its memory limit of 64 MiB"
        desk.told.clear()
        ended = await desk.ended(replace(assign, spec=bomb))
        assert (ended.outcome, ended.reason.partition(": ")[2]) == ("failed", "it went over its limit of 10 processes")


@in_a_loop
async def test_a_step_that_kills_all_around_it_fails_and_nothing_hangs(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=housed("kill -9 -1; sleep 5")))
        assert (ended.outcome, ended.exit_code) == ("failed", 128 + signal.SIGKILL)


@in_a_loop
async def test_what_a_step_leaves_with_its_output_is_ended_and_said(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    spec = housed("sleep 1000 & echo one", "ps | grep -c 'sleep [1]000' || true")
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        assert (ended.outcome, desk.text) == ("passed", b"one\n0\n")
        assert "kept its output open" in ended.steps[0].remarks[0].text


@in_a_loop
async def test_orphans_are_collected_while_a_step_goes_on(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    orphans = (
        'for i in 1 2 3 4 5; do (sleep 0.1 &); done; while ps | grep -q "\\[sleep\\]" || ps | grep -q "sleep 0.1$"'
    )
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=housed(f"{orphans}; do sleep 0.2; done; echo none")))
        assert (ended.outcome, desk.text) == ("passed", b"none\n")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (housed("true", image="no.invalid/x:1", pull="never"), "image no.invalid/x:1 is not on this machine"),
        (housed("true", image="127.0.0.1:1/no/such:1"), "connection refused; does its registry run"),
        (housed("true", image=BARE), "has no /bin/sh, which runs the steps"),
    ],
    ids=["never", "registry down", "no shell"],
)  # fmt: skip
@in_a_loop
async def test_an_image_that_cannot_be_used_says_why_in_a_sentence(
    tmp_path: Path, assign: Assign, docker_engine: Docker, spec: JobSpec, sentence: str
) -> None:
    async with Housed(tmp_path / "data", docker_engine) as desk:
        assign = replace(assign, spec=spec)
        desk.executor.hold(assign, boot_ms())
        desk.executor.prepare(assign)
        if spec.image is not None and spec.image.name == BARE:
            await desk.hear(Prepared)
            desk.executor.start(assign, boot_ms(), None)
        reason = (await desk.hear(PreparationFailed)).reason
        assert sentence in reason
        assert "\n" not in reason
        desk.executor.forget(ONE)
        await desk.until_clean()


def test_a_runner_without_an_engine_says_so(tmp_path: Path, assign: Assign) -> None:
    async def refused() -> str:
        async with Desk(tmp_path / "data") as desk:
            desk.executor.hold(assign, boot_ms())
            desk.executor.prepare(assign)
            reason = (await desk.hear(PreparationFailed)).reason
            desk.executor.forget(ONE)
            await desk.until_clean()
            return reason

    assert asyncio.run(refused()) == "the job has an image, and runner spare offers no containers"


@in_a_loop
async def test_an_engine_that_is_started_anew_costs_no_more_than_the_attempt(tmp_path: Path, assign: Assign) -> None:
    with own_engine() as engine:
        async with Housed(tmp_path / "data", engine) as desk:
            await desk.started(replace(assign, spec=housed("echo here; sleep 1000")))
            await desk.hear(LogGrew)
            await asyncio.to_thread(engine.stop)
            ended = await desk.hear(Ended)
            assert (ended.outcome, ended.reason) == (
                "errored",
                "the container ended although its job had not: its engine was stopped, or somebody removed it",
            )
            desk.executor.forget(ONE)
            await desk.until_clean()
            desk.told.clear()
            desk.executor.hold(assign, boot_ms())
            desk.executor.prepare(assign)
            assert "nothing answers at" in (await desk.hear(PreparationFailed)).reason
            desk.executor.forget(ONE)
            await desk.until_clean()
            await asyncio.to_thread(engine.start)
            desk.told.clear()
            assert (await desk.ended(assign)).outcome == "passed"
            assert engine.names() == []
