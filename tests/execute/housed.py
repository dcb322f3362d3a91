"""A runner's executor whose attempt has a container, which collects its work and then forgets it.

A program of its own, so that a test can start it as an ordinary user. The input is JSON: `data`, `repo`, `sha`,
`engine` (the folder of a running one) and `jobs`, each with a `script`, whether it is `root` in its container, and
whether it is to be `killed` once it has said `here`. The output is a JSON list of what each job came to.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from surveil.core.run_events import Collected, Ended, KeeperLost
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.containers.container import chosen
from surveil.execute.process import ProcessExecutor
from surveil.protocol import ArtifactSpec, Assign
from tests.engines.docker import Docker
from tests.execute.test_containers import Housed, housed
from tests.execute.test_process import ONE


def read(work: Work, /) -> Collection:
    """A collector that reads what the job left in `made`."""
    kept = work.workspace.work / "made"
    return Collection(remarks=tuple(f"{path.name}: {path.read_text()}" for path in sorted(kept.iterdir())))


async def run(wanted: dict[str, Any], script: str, *, root: bool, killed: bool) -> dict[str, Any]:
    """One job to its end; what is left of it then."""
    engine, data = Docker(Path(wanted["engine"])), Path(wanted["data"])
    spec = replace(housed(script), artifacts=(ArtifactSpec(name="made", paths=("made",)),))
    assert spec.image is not None
    spec = replace(spec, image=replace(spec.image, root=root))
    assign = Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=wanted["repo"], ref="refs/heads/main",
        sha=wanted["sha"], spec=spec,
    )  # fmt: skip
    desk = Housed(data, engine)
    found, why = chosen(engine.address)
    assert found is not None, why
    desk.executor = ProcessExecutor(data, "spare", containers=found, collectors=(read,))
    came: dict[str, Any] = {"remarks": []}
    async with desk:
        await desk.started(assign)
        if killed:
            while b"here" not in desk.log():
                await desk.soon()
            (folder,) = (data / "attempts").iterdir()
            os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
            await desk.hear(KeeperLost)
        else:
            ended = await desk.hear(Ended)
            desk.executor.collect(assign, "passed")
            came = {"remarks": (await desk.hear(Collected)).remarks, "reason": ended.reason, "log": desk.log().decode()}
        desk.executor.forget(ONE)
        await desk.until_clean()
    return came


async def main(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """All jobs, one after another."""
    return [await run(wanted, **job) for job in wanted["jobs"]]


if __name__ == "__main__":
    json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)
