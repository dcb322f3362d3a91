"""What an engine does to attempts: it is killed, it hangs, it is started anew, and what it held is taken away by hand.

The campaign's hosts have no engine: one would need control groups and mounts of its own in each namespace. So these
faults are struck at a real engine beside one runner's executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.clock import boot_ms
from surveil.core.run_events import Ended, PreparationFailed, Prepared
from surveil.execute import upkeep
from surveil.protocol import Assign
from tests.engines.docker import Docker
from tests.engines.fixtures import own_engine
from tests.engines.images import PROBE
from tests.execute.test_containers import Housed, assign, housed
from tests.execute.test_process import ONE, PATIENCE_S, Desk, in_a_loop

__all__ = ["assign"]

WAITING = 'echo here; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo done'


@pytest.fixture(scope="module")
def struck() -> Iterator[Docker]:
    """An engine that is hurt, and well again when a test ends."""
    with own_engine() as engine:
        yield engine


def _packed() -> bytes:
    """The files of an image that is like no other."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    return packed.getvalue()


async def begun(desk: Housed, order: Assign) -> None:
    """Start an attempt, and wait until its step runs."""
    await desk.started(order)
    async with asyncio.timeout(PATIENCE_S):
        while b"here" not in desk.log():
            await desk.soon()


async def go_on(desk: Housed) -> Ended:
    """Let its step end."""
    (home,) = desk.data.glob("workspaces/*/home")
    (home / "go").touch()
    return await desk.hear(Ended)


async def forgotten(desk: Housed) -> None:
    """Forget the attempt."""
    desk.executor.forget(ONE)
    await desk.until_clean()


async def until_none(engine: Docker) -> None:
    """Wait until the engine has no container any more."""
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(engine.names):  # noqa: ASYNC110  # A container has no event.
            await asyncio.sleep(0.05)


@in_a_loop
async def test_an_engine_with_live_restore_is_started_anew_and_the_attempt_goes_on(
    tmp_path: Path, assign: Assign
) -> None:
    with own_engine(Docker, "--live-restore") as engine:
        async with Housed(tmp_path / "data", engine) as desk:
            await begun(desk, replace(assign, spec=housed(WAITING)))
            await asyncio.to_thread(engine.stop)
            await asyncio.to_thread(engine.start)
            ended = await go_on(desk)
            assert (ended.outcome, desk.log()) == ("passed", b"here\ndone\n")
            await forgotten(desk)
            await until_none(engine)


@in_a_loop
async def test_a_killed_engine_costs_a_running_attempt_nothing_and_its_container_goes_when_it_is_back(
    tmp_path: Path, assign: Assign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SWEEP_EVERY_S", 0.2)
    with own_engine() as engine:
        async with Housed(tmp_path / "data", engine) as desk:
            await begun(desk, replace(assign, spec=housed(WAITING)))
            await asyncio.to_thread(engine.stop, signal.SIGKILL)
            ended = await go_on(desk)
            assert (ended.outcome, desk.log()) == ("passed", b"here\ndone\n")
            await forgotten(desk)
            await asyncio.to_thread(engine.start)
            await until_none(engine)


@in_a_loop
async def test_an_engine_that_hangs_keeps_no_attempt_waiting_for_ever(
    tmp_path: Path, assign: Assign, struck: Docker
) -> None:
    async with Housed(tmp_path / "data", struck) as desk:
        await begun(desk, replace(assign, spec=housed(WAITING)))
        # Nobody is impatient with one that works: on a busy machine it takes its time.
        api = desk.containers._engine._api  # noqa: SLF001
        patience_s, api.timeout = api.timeout, 1.0
        struck.signal(signal.SIGSTOP)
        try:
            assert (await go_on(desk)).outcome == "passed"
            await forgotten(desk)
            desk.told.clear()
            desk.executor.hold(assign, boot_ms())
            desk.executor.prepare(assign)
            reason = (await Desk.hear(desk, PreparationFailed)).reason
            assert "nothing answers at" in reason
            assert "timed out" in reason
        finally:
            struck.signal(signal.SIGCONT)
            api.timeout = patience_s
        await forgotten(desk)
        await until_none(struck)


@in_a_loop
async def test_a_container_that_is_removed_by_hand_is_an_error_of_its_attempt_and_no_verdict(
    tmp_path: Path, assign: Assign, struck: Docker
) -> None:
    async with Housed(tmp_path / "data", struck) as desk:
        await begun(desk, replace(assign, spec=housed("echo here; sleep 1000")))
        with contextlib.closing(struck.api()) as api:
            await asyncio.to_thread(api.remove_container, *struck.names(), force=True)
        ended = await desk.hear(Ended)
        assert (ended.outcome, ended.reason) == (
            "errored",
            "the container ended although its job had not: its engine was stopped, or somebody removed it",
        )
        await forgotten(desk)


@in_a_loop
async def test_an_image_may_go_while_its_container_runs_and_is_missed_where_none_does_yet(
    tmp_path: Path, assign: Assign, struck: Docker
) -> None:
    name = "going:1"
    with contextlib.closing(struck.api()) as api:
        api.tag(PROBE, "going", "1")
        async with Housed(tmp_path / "data", struck) as desk:
            await begun(desk, replace(assign, spec=housed(WAITING, image=name)))
            await asyncio.to_thread(api.remove_image, name, force=True)
            assert (await go_on(desk)).outcome == "passed"
            await forgotten(desk)
            api.import_image_from_data(_packed(), repository="going", tag="2")
            desk.told.clear()
            order = replace(assign, spec=housed("true", image="going:2"))
            desk.executor.hold(order, boot_ms())
            desk.executor.prepare(order)
            await desk.hear(Prepared)
            await asyncio.to_thread(api.remove_image, "going:2", force=True)
            desk.executor.start(order, boot_ms(), None)
            reason = (await Desk.hear(desk, PreparationFailed)).reason
            assert reason.startswith("the container engine cannot start a container: No such image: sha256:")
            await forgotten(desk)
