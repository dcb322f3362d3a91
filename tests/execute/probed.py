"""A runner's executor on a data folder with things that are nobody's business, which runs the jobs that it is told.

A program of its own, so that a test can start it as any user. The input is JSON: `data`, `repo`, `sha`, `sandbox`
(`off` or `required`), `expose`, `processes`, and `jobs`, each a script in which `{agent}`, `{lock}` (of the first
attempt) and `{data}` are filled in. The output is a JSON list of what each job came to.
"""

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from surveil.clock import boot_ms
from surveil.core.run_events import Ended, Prepared
from surveil.execute import files
from surveil.execute.attempts import folder_name
from surveil.execute.contract import Happening
from surveil.execute.isolation import isolating
from surveil.execute.isolation.cgroups import Limits
from surveil.execute.process import ProcessExecutor
from surveil.places import ATTEMPTS, KEYS, WORKSPACES
from surveil.protocol import Assign, JobSpec, StepSpec

SECRET = "the agent's secret"


class Probed:
    """One agent, which runs jobs one after another."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._data = Path(wanted["data"])
        expose = [Path(path) for path in wanted["expose"]]
        isolation = isolating.choose(wanted["sandbox"], data=self._data, expose=expose)
        # No control groups, so that what is counted is counted by the sandbox.
        isolation = replace(isolation, limits=Limits(processes=wanted["processes"]))
        self._executor = ProcessExecutor(self._data, "spare", isolation=isolation)
        self._told: asyncio.Queue[Happening] = asyncio.Queue()

    async def run(self) -> list[dict[str, Any]]:
        """All jobs, to their ends."""
        keys = self._data / KEYS
        keys.mkdir(parents=True)
        (keys / "runner.key").write_text(SECRET)
        (keys / "runner.key").chmod(0o600)
        await self._executor.open(self._told.put_nowait)
        try:
            return [await self._job(number, script) for number, script in enumerate(self._wanted["jobs"], 1)]
        finally:
            await self._executor.close()

    async def _job(self, number: int, script: str) -> dict[str, Any]:
        step = StepSpec(name="probe", run=self._fill(script), shell="sh", env={}, timeout_ms=0, continue_on_error=False)
        assign = Assign(
            epoch=1, incarnation=1, anchor=1, job=f"{number}/test", attempt=1, build=number, repo=self._wanted["repo"],
            ref="refs/heads/main", sha=self._wanted["sha"],
            spec=JobSpec(name="test", env={}, timeout_ms=60_000, steps=(step,), matrix={}),
        )  # fmt: skip
        attempt = (assign.job, assign.attempt)
        self._executor.hold(assign, boot_ms())
        self._executor.prepare(assign)
        await self._until(Prepared)
        other = self._data / WORKSPACES / "other"
        other.mkdir(exist_ok=True)
        (other / "secret").touch()
        self._executor.start(assign, boot_ms(), None)
        ended = await self._until(Ended)
        log = b""
        while (chunk := self._executor.read_log(attempt, len(log), 1 << 20)) is not None:
            log += chunk.data
        # The next one finds the workspace of this one, unless it is kept from seeing it.
        return {"outcome": ended.outcome, "reason": ended.reason, "isolation": ended.isolation, "log": log.decode()}

    def _fill(self, script: str) -> str:
        lock = self._data / ATTEMPTS / folder_name(("1/test", 1)) / files.LOCK
        return (
            script.replace("{agent}", str(os.getpid())).replace("{lock}", str(lock)).replace("{data}", str(self._data))
        )

    async def _until(self, kind: type[Any]) -> Any:
        async with asyncio.timeout(60):
            while not isinstance(happening := await self._told.get(), kind):
                pass
        return happening


if __name__ == "__main__":
    json.dump(asyncio.run(Probed(json.load(sys.stdin)).run()), sys.stdout)
