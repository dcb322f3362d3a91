"""What a job asks of its container and image reaches the engine: its share of the machine, and when it is fetched."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

from surveil.execute.containers.engine import Engine
from surveil.execute.containers.fetching import Fetch
from surveil.protocol import Assign, ImageSpec
from tests.engines.docker import Docker
from tests.engines.images import DASH, PROBE
from tests.engines.registry import PASSWORD, USER, private_registry, push
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_process import ONE, in_a_loop

__all__ = ["assign", "no_container_left"]


@in_a_loop
async def test_a_container_has_the_share_that_its_job_asks_for_and_says_whose_it_is(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    asked = {"cpu_thousandths": 1500, "memory_bytes": 1 << 30, "processes": 99}
    async with Housed(tmp_path / "data", docker_engine, memory_bytes=64 << 20, processes=200) as desk:
        await desk.started(replace(assign, spec=housed("echo here; sleep 1000", limits=asked)))
        while b"here" not in desk.log():
            await desk.soon()
        made = await asyncio.to_thread(docker_engine.inspect, *docker_engine.names())
        desk.executor.kill(ONE)
        await desk.lost()
    host, labels = made["HostConfig"], made["Config"]["Labels"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (1_500_000_000, 64 << 20, 99)
    assert {name: labels[name] for name in labels if name != "surveil.folder"} == {
        "surveil.runner": "spare", "surveil.job": "7/test", "surveil.attempt": "1"
    }  # fmt: skip
    assert made["Name"].startswith(f"/surveil-{labels['surveil.folder']}")


def test_an_image_that_is_there_is_fetched_anew_only_where_a_job_says_always(
    tmp_path: Path, docker_engine: Docker
) -> None:
    login = Fetch(login=f"{USER}:{PASSWORD}".encode())
    with (
        private_registry(tmp_path) as host,
        contextlib.closing(docker_engine.api()) as api,
        contextlib.closing(Engine(docker_engine.address)) as engine,
    ):
        name = f"{host}/team/tool:1"
        push(api, PROBE, name)
        first = engine.resolve(ImageSpec(name=name, pull="missing"), login)
        # The same registry by another of its names, so that this engine knows nothing of the new image.
        push(api, DASH, name.replace("127.0.0.1", "localhost"))
        assert engine.resolve(ImageSpec(name=name, pull="missing"), login).digest == first.digest
        assert engine.resolve(ImageSpec(name=name, pull="never"), login).digest == first.digest
        second = engine.resolve(ImageSpec(name=name, pull="always"), login)
        assert second.digest != first.digest
        assert second.id == api.inspect_image(DASH)["Id"]
        assert engine.resolve(ImageSpec(name=name, pull="missing"), login).digest == second.digest
        api.remove_image(name)
