"""How soon a job runs elsewhere when its runner's machine dies, with real runners: all processes killed (connections
close), all processes stopped (nothing closes), and that with a short lease; and how soon a killed dispatcher has all
its runners and their jobs back.

`python -m benchmarks.failover [--runners N] [--only killed,stopped,short,dispatcher]`
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.cluster import client_of, dispatching, let_in, noop_pipeline, scratch, submission, until_online
from benchmarks.figures import Figure, say
from benchmarks.noop import noop_runners
from benchmarks.real import all_of, commit_of, real_runners, signal_all, small_repository
from surveil.client.asking import Client
from surveil.client.following import follow_journal

PATIENCE_S: Final = 60.0
LONG_JOB: Final = "jobs: {test: {steps: [{run: 'sleep 300'}]}}"
SHORT_LEASE: Final[Mapping[str, str]] = MappingProxyType(
    {"SURVEIL_POLICY_HEARTBEAT": "250ms", "SURVEIL_POLICY_LEASE": "1s", "SURVEIL_POLICY_MARGIN": "250ms"}
)
DEAD_MS: Final = 3_000
SILENT_MS: Final = 10_000
SHORT_MS: Final = 1_500
BACK_MS: Final = 5_000


async def runner_lost(folder: Path, how: signal.Signals, settings: Mapping[str, str] = MappingProxyType({})) -> float:
    """Milliseconds from the signal to all processes of a runner until its job's next attempt runs on the other one."""
    data, repository = folder / "lost", small_repository(folder / "repository")
    with dispatching(data, settings):
        async with client_of(data) as client, real_runners(client, folder, ["one", "two"], slots=1) as runners:
            about = submission(0, LONG_JOB, repo=str(repository), sha=commit_of(repository))
            build = (await client.ask("submit", about)).body["build"]
            first = await _running(client, build, 1)
            dead = all_of(runners[["one", "two"].index(first)])
            begun = time.monotonic()
            signal_all(dead, how)
            await _running(client, build, 2)
            took_ms = (time.monotonic() - begun) * 1000
            signal_all(dead, signal.SIGKILL)
            return took_ms


async def _running(client: Client, build: int, attempt: int) -> str:
    """Wait until this attempt of the build's job runs; returns the name of its runner."""
    async with asyncio.timeout(PATIENCE_S):
        async for note in follow_journal(client, after=0, build=build):
            if note["what"] == "attempt" and note["state"] == "running" and note["id"].endswith(f"#{attempt}"):
                break
        document: dict[str, Any] = await client.build(build)
    name: str = document["jobs"][0]["attempts"][attempt - 1]["runner"]
    return name


async def _all_running(client: Client, build: int, attempts: int) -> None:
    """Wait until so many attempts at a build's jobs were taken by their runners."""
    running = 0
    async with asyncio.timeout(PATIENCE_S):
        async for note in follow_journal(client, after=0, build=build):
            running += note["what"] == "attempt" and note["state"] == "running"
            if running >= attempts:
                return


async def dispatcher_lost(folder: Path, runners: int) -> tuple[float, int]:
    """Milliseconds from the start of a killed dispatcher until all runners are back, and how many jobs began anew."""
    data = folder / "dispatcher"
    peers = let_in(data, [f"noop-{number}" for number in range(runners)])
    groups = [peers[::2], peers[1::2]] if runners > 1 else [peers]
    with dispatching(data) as dispatcher, noop_runners(dispatcher, groups, 1, holding=True) as started:
        tallies = [tally for _, tally in started]
        async with client_of(data) as client:
            await until_online(client, runners)
            build = (await client.ask("submit", submission(0, noop_pipeline(runners)))).body["build"]
            await _all_running(client, build, runners)
        before = sum(tally.welcomed.value for tally in tallies)
        dispatcher.stop(signal.SIGKILL)
        begun = time.monotonic()
        dispatcher.start()
        while sum(tally.welcomed.value for tally in tallies) - before < runners:
            if time.monotonic() - begun > PATIENCE_S:
                raise SystemExit("not all runners came back")
            await asyncio.sleep(0.005)
        took_ms = (time.monotonic() - begun) * 1000
        async with client_of(data) as client:
            jobs = (await client.build(build))["jobs"]
        return took_ms, sum(job["attempt"] != 1 or job["state"] != "running" for job in jobs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.failover", description="How soon lost work goes on.")
    parser.add_argument("--runners", type=int, default=100, help="runners of the dispatcher that is killed")
    parser.add_argument("--only", default="killed,stopped,short,dispatcher")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",")
    figures: list[Figure] = []

    def report(what: str, took_ms: float, target_ms: int, limit: str, limit_ms: float) -> None:
        seconds, target = f"{took_ms / 1000:.2f} s", f"{target_ms / 1000:g} s"
        met = took_ms <= target_ms
        figures.append(Figure(what=what, value=seconds, limit=limit, ratio=took_ms / limit_ms, target=target, met=met))
        say(str(figures[-1]))

    with scratch() as folder:
        if "killed" in chosen:
            took_ms = asyncio.run(runner_lost(folder / "killed", signal.SIGKILL))
            report("runner killed, to job running elsewhere", took_ms, DEAD_MS, "2 s that it may take to return", 2_000)
        if "stopped" in chosen:
            took_ms = asyncio.run(runner_lost(folder / "stopped", signal.SIGSTOP))
            report("runner silent, to job running elsewhere", took_ms, SILENT_MS, "9 s of lease and margin", 9_000)
        if "short" in chosen:
            took_ms = asyncio.run(runner_lost(folder / "short", signal.SIGSTOP, SHORT_LEASE))
            report("the same, lease 1 s", took_ms, SHORT_MS, "1.25 s of lease and margin", 1_250)
        if "dispatcher" in chosen:
            took_ms, anew = asyncio.run(dispatcher_lost(folder, options.runners))
            say(f"{anew} of {options.runners} jobs began anew when the dispatcher was killed")
            limit = "2 s until the last runner dials again"
            report(f"dispatcher killed, {options.runners} runners back", took_ms, BACK_MS, limit, 2_000)
    say("; ".join(f"{figure.what}: {figure.value} (ratio {figure.ratio or 0:.2f} of its limit)" for figure in figures))


if __name__ == "__main__":
    main()
