"""The same promises with Podman's socket in the place of Docker's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.core.run_events import KeeperLost
from surveil.protocol import Assign, ImageSpec, ServiceSpec
from tests.engines.docker import Docker
from tests.engines.fixtures import add_servers, own_engine
from tests.engines.podman import Podman
from tests.execute.conftest import make_repository
from tests.execute.test_containers import Housed, housed
from tests.execute.test_containers_root import INSTALL
from tests.execute.test_process import ONE, PATIENCE_S, in_a_loop

HERE = "docker.io/library/probe:latest"
"""As Podman calls what was imported as `probe:1`."""


@pytest.fixture
def podman() -> Iterator[Docker]:
    with own_engine(Podman) as engine:
        yield engine
        assert engine.names() == []


@in_a_loop
async def test_an_attempt_in_podman_is_what_it_is_in_docker(tmp_path: Path, podman: Docker) -> None:
    sha = make_repository(tmp_path / "repo")
    assign = Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(tmp_path / "repo"),
        ref="refs/heads/main", sha=sha, spec=housed("cat hello; seq 5000; echo last", "exit 3", image=HERE),
    )  # fmt: skip
    async with Housed(tmp_path / "data", podman) as desk:
        ended = await desk.ended(assign)
        lines = desk.text.decode().splitlines()
        assert (lines[0], lines[-1], len(lines)) == ("hello", "last", 5002)
        assert (ended.outcome, [step.exit_code for step in ended.steps]) == ("failed", [0, 3])
        assert ended.isolation.startswith("container docker.io/library/probe@sha256:")
        desk.told.clear()
        rooted = housed(INSTALL, image=HERE, limits={"root": True})
        ended = await desk.ended(replace(assign, spec=rooted))
        assert (ended.reason, desk.text) == ("", b"0\n1234\n")
        assert ended.isolation.endswith(" as root")
        desk.told.clear()
        hungry = housed(
            "exec dd if=/dev/zero of=/dev/null bs=200M count=1", image=HERE, limits={"memory_bytes": 64 << 20}
        )
        ended = await desk.ended(replace(assign, spec=hungry))
        assert ended.reason == "step 's0' was killed because it went over its memory limit of 64 MiB"
        desk.told.clear()
        limits = {"disk_bytes": 32 << 20, "root": True}
        greedy = housed("dd if=/dev/zero of=/big bs=1M count=48; sleep 1000", image=HERE, limits=limits)
        ended = await desk.ended(replace(assign, spec=greedy))
        assert ended.reason.startswith("the job went over its disk limit of 32 MiB: it wrote ")
        desk.told.clear()
        await desk.started(replace(assign, spec=housed("echo here; sleep 1000", image=HERE)))
        while b"here" not in desk.log():
            await desk.soon()
        (folder,) = (tmp_path / "data" / "attempts").iterdir()
        os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
        await desk.hear(KeeperLost)
        async with asyncio.timeout(PATIENCE_S):
            while podman.names():  # noqa: ASYNC110  # A container has no event.
                await asyncio.sleep(0.05)
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_services_in_podman_are_reached_by_name_and_end_with_the_attempt(tmp_path: Path, podman: Docker) -> None:
    add_servers(podman, tmp_path)
    here = "docker.io/library/database:latest"
    db = ServiceSpec(name="db", image=ImageSpec(name=here), env={"DB_PASSWORD": "open"}, port=5432, interval_ms=100)
    sha = make_repository(tmp_path / "repo")
    spec = replace(housed("wget -qO- http://db:5432/page", "sleep 1000", image=HERE), services=(db,))
    assign = Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(tmp_path / "repo"),
        ref="refs/heads/main", sha=sha, spec=spec,
    )  # fmt: skip
    async with Housed(tmp_path / "data", podman) as desk:
        await desk.started(assign)
        while b"its own words" not in desk.log():
            await desk.soon()
        (folder,) = (tmp_path / "data" / "attempts").iterdir()
        os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
        await desk.hear(KeeperLost)
        desk.executor.forget(ONE)
        await desk.until_clean()
