"""Real one-step builds a second: a commit of 1000 files checked out, and `true` as a real process, through the real
dispatcher, runner and keeper.

`python -m benchmarks.builds [--builds N] [--slots N] [--buildbot BIN]`
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.buildbot import builds_per_s
from benchmarks.cluster import client_of, dispatching, noop_pipeline, scratch, submission
from benchmarks.figures import Figure, Usage, say
from benchmarks.real import FILES, commit_of, git, real_runners, small_repository
from surveil.client.asking import Client
from surveil.client.following import follow_journal

BUILDBOT_PER_S: Final = 4.0
"""Buildbot 4.3 with two workers, measured on a machine of this kind while it was quiet; `--buildbot` measures anew."""
TARGET_TIMES: Final = 20
PATIENCE_S: Final = 120.0


async def measure(folder: Path, *, builds: int, slots: int, files: int) -> tuple[float, float, float]:
    """Builds a second, and the milliseconds of CPU that the dispatcher and the runner's agent take for one."""
    data = folder / "builds"
    repository = small_repository(folder / "repository", files=files)
    sha = commit_of(repository)
    with dispatching(data) as dispatcher:
        async with client_of(data) as client, real_runners(client, folder, ["builds-1"], slots=slots) as runners:
            pipeline = noop_pipeline(1)

            async def submit(number: int) -> None:
                about = submission(number, pipeline, repo=str(repository), sha=sha)
                await client.ask("submit", about)

            async with asyncio.timeout(PATIENCE_S):
                await submit(0)
                await _verdicts(client, 1)
                usage, runner_usage = Usage(dispatcher.pid), Usage(runners[0].pid)
                begun = time.monotonic()
                await asyncio.gather(*(submit(1 + number) for number in range(builds)))
                await _verdicts(client, 1 + builds)
                took_s = time.monotonic() - begun
            runner_ms = runner_usage.cpu_s() / builds * 1000
            return builds / took_s, usage.cpu_s() / builds * 1000, runner_ms


async def _verdicts(client: Client, builds: int) -> None:
    """Wait until so many builds have passed; one listener for all, so that it is the builds that are measured."""
    passed = 0
    async for note in follow_journal(client, after=0):
        if note["what"] == "build" and note["state"] not in {"queued", "passed"}:
            raise SystemExit(f"build {note['build']} is {note['state']}: {note['reason']}")
        passed += note["what"] == "build" and note["state"] == "passed"
        if passed >= builds:
            return


def by_hand_per_s(folder: Path, *, files: int, times: int = 20) -> float:
    """How often a second a shell script could do the same on one core: read the tree out, run `true`, remove it."""
    repository = small_repository(folder / "by-hand", files=files)
    begun = time.perf_counter()
    for number in range(times):
        tree = folder / f"tree-{number}"
        git(repository, "clone", "-q", "--shared", str(repository), str(tree))
        subprocess.run(["sh", "-eu", "-c", "true"], cwd=tree, check=True)
        subprocess.run(["rm", "-rf", str(tree)], check=True)
    return times / (time.perf_counter() - begun)


def buildbot_per_s(folder: Path, programs: Path, options: argparse.Namespace) -> float:
    """Buildbot's builds a second of as many files."""
    repository = small_repository(folder / "for-buildbot", files=options.files)
    return builds_per_s(folder / "buildbot", programs, repository, commit_of(repository), builds=options.builds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.builds", description="Real one-step builds a second.")
    parser.add_argument("--builds", type=int, default=60)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument(
        "--buildbot", type=Path, metavar="BIN", help="the folder of buildbot and buildbot-worker, to run them as well"
    )
    options = parser.parse_args(arguments)
    with scratch() as folder:
        rate, dispatcher_ms, runner_ms = asyncio.run(
            measure(folder, builds=options.builds, slots=options.slots, files=options.files)
        )
        by_hand = by_hand_per_s(folder, files=options.files)
        peer = BUILDBOT_PER_S if options.buildbot is None else buildbot_per_s(folder, options.buildbot, options)
    say(f"CPU for a build: {dispatcher_ms:.1f} ms of the dispatcher, {runner_ms:.1f} ms of the runner's agent")
    when = "when it was measured" if options.buildbot is None else "in this run, with a work tree that it keeps"
    say(f"Buildbot, {peer:.1f} builds/s {when}: surveil is {rate / peer:.1f} times as fast")
    figure = Figure(
        what=f"one-step builds of {options.files} files, {options.slots} slots",
        value=f"{rate:.1f} builds/s",
        limit=f"{by_hand:.1f} a second by a shell script, one after the other",
        ratio=rate / by_hand,
        target=f"{TARGET_TIMES} times Buildbot's {peer:.1f}",
        met=rate >= TARGET_TIMES * peer,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
