"""How long a pytest suite takes on 1, 2 and 4 shards, without and with a record of its tests, and when a runner is
killed half-way; with the real dispatcher, runners and pytest. Its tests sleep, so that what is measured is how they are
handed out and not how many processors there are.

`python -m benchmarks.shards [--cases N] [--seconds S] [--only 1,2,4,killed]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.cluster import client_of, dispatching, scratch, submission
from benchmarks.figures import Figure, say
from benchmarks.real import all_of, commit_of, real_runners, signal_all, small_repository
from surveil.client.asking import Client

PATIENCE_S: Final = 600.0
TARGET: Final = 1.15
SEED: Final = 7
RUNNERS: Final = 4
SUITE: Final = """
import time

import pytest

TIMES = {times}


@pytest.mark.parametrize("number", range(len(TIMES)))
def test_one(number):
    time.sleep(TIMES[number])
"""
PIPELINE: Final = """
jobs:
  test:
    shards: {shards}
    steps:
      - run: PYTHONPATH=$SURVEIL_SHARDS python -m pytest -q -p surveil_shards -p no:cacheprovider test_suite.py
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One build: how long its shards ran, first to last, and what became of them."""

    wall_s: float
    state: str
    attempts: int


def times_of(cases: int, seconds: float) -> list[float]:
    """As suites are: most tests are short, a few take a hundred times as long."""
    dice = random.Random(SEED)
    drawn = [dice.lognormvariate(0, 1.2) for _ in range(cases)]
    return [round(one * seconds / sum(drawn), 4) for one in drawn]


async def build(client: Client, repository: Path, number: int, shards: int) -> int:
    """Submit the suite in so many shards."""
    pipeline = PIPELINE.format(shards=shards)
    about = submission(number, pipeline, repo=str(repository), sha=commit_of(repository))
    submitted: int = (await client.ask("submit", about)).body["build"]
    return submitted


async def finished(client: Client, number: int) -> Run:
    """Wait for a build, and see when its shards ran."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            document: dict[str, Any] = await client.build(number)
            if document["finished_at"]:
                break
            await asyncio.sleep(0.05)
    if document["state"] != "passed":
        raise SystemExit(f"a suite that passes came to this: {document['reason']}")
    attempts = [attempt for job in document["jobs"] for attempt in job["attempts"]]
    began = min(map(_at, (attempt["started_at"] for attempt in attempts if attempt["started_at"])))
    ended = max(map(_at, (attempt["finished_at"] for attempt in attempts if attempt["finished_at"])))
    return Run(wall_s=ended - began, state=document["state"], attempts=len(attempts))


def _at(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


async def measure(folder: Path, cases: int, seconds: float, only: Sequence[str]) -> Mapping[str, Run]:
    """All runs, each shard on a runner of its own."""
    suite = SUITE.format(times=times_of(cases, seconds))
    repository = small_repository(folder / "repository", more={"test_suite.py": suite})
    runs: dict[str, Run] = {}
    names = [f"shards-{number}" for number in range(RUNNERS)]
    with dispatching(folder / "shards") as _:
        async with client_of(folder / "shards") as client, real_runners(client, folder, names, slots=1) as runners:
            number = 0
            for shards in (int(each) for each in only if each.isdecimal()):
                # The first build of all has no record of its tests; every later one has.
                for record in ("no record", "a record") if not runs else ("a record",):
                    number += 1
                    runs[f"{shards} shards, {record}"] = await finished(
                        client, await build(client, repository, number, shards)
                    )
            if "killed" in only:
                number += 1
                submitted = await build(client, repository, number, RUNNERS)
                await asyncio.sleep(seconds / RUNNERS / 2)
                signal_all(all_of(runners[0]), signal.SIGKILL)
                runs[f"{RUNNERS} shards, one runner killed half-way"] = await finished(client, submitted)
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.shards", description="A suite split across runners.")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--only", default="4,1,2,killed")
    options = parser.parse_args(arguments)
    times = times_of(options.cases, options.seconds)
    # Steps see the programs that are in PATH, and what belongs to those.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    say(f"{options.cases} tests that sleep {sum(times):.1f} s in all, the longest {max(times):.2f} s")
    begun = time.monotonic()
    with scratch() as folder:
        runs = asyncio.run(measure(folder, options.cases, options.seconds, options.only.split(",")))
    for name, run in runs.items():
        ideal_s = sum(times) / int(name.split()[0])
        say(
            f"{name}: {run.wall_s:.1f} s, {run.wall_s / ideal_s:.2f} times the ideal {ideal_s:.1f} s; {run.state}, "
            f"{run.attempts} attempts"
        )
    say(f"all of it took {time.monotonic() - begun:.0f} s")
    name, run = next(((name, run) for name, run in runs.items() if "a record" in name), next(iter(runs.items())))
    ideal_s = sum(times) / int(name.split()[0])
    figure = Figure(
        what=name,
        value=f"{run.wall_s:.1f} s from the first step's start to the last one's end",
        limit=f"{ideal_s:.1f} s, the tests' own time shared out",
        ratio=run.wall_s / ideal_s,
        target=f"at most {TARGET} times the limit",
        met=run.wall_s <= TARGET * ideal_s,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
