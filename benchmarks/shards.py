"""How long a pytest suite takes on 1, 2 and 4 shards, without and with a record of its tests, and when a runner is
killed half-way; with the real dispatcher, runners and pytest. Its tests sleep, so that what is measured is how they are
handed out and not how many processors there are.

What it is held against is the same suite split by hand: plain pytests at once, as many as there are shards, each with
its part of the tests, cut beforehand by somebody who knows how long each will take. What no suite can do without, the
start of pytest on a machine that is as busy as it is, is in both; it is measured before and after each run of surveil.

A suite that somebody really has is taken with `--suite`: paths of this repository's own tests. Nobody knows how to cut
it perfectly, so it is held against one plain pytest that runs all of it.

`python -m benchmarks.shards [--cases N] [--seconds S] [--only 4,1,2,killed] [--suite PATH ...]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.cluster import client_of, dispatching, scratch, submission
from benchmarks.figures import Figure, say
from benchmarks.real import all_of, commit_of, git, real_runners, signal_all, small_repository
from surveil.client.asking import Client
from surveil.client.following import follow_log
from surveil.execute.processes import kill_left_behind

PATIENCE_S: Final = 600.0
LINES_SHOWN: Final = 40
TARGET: Final = 1.15
SEED: Final = 7
RUNNERS: Final = 4
ROOT: Final = Path(__file__).parents[1]
SUITE: Final = """
import os
import time

import pytest

TIMES = {times}
PART = [int(each) for each in os.environ.get("PART", "").split()] or range(len(TIMES))


@pytest.mark.parametrize("number", PART)
def test_one(number):
    time.sleep(TIMES[number])
"""
PLAIN: Final = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""What plugins cost to be loaded is the suite's own affair."""
PYTEST: Final = "python -m pytest -q -p no:cacheprovider"
PIPELINE: Final = """
jobs:
  test:
    shards: {shards}
    env: {env}
    steps:
      - run: PYTHONPATH=$SURVEIL_SHARDS {pytest} -p surveil_shards
"""


@dataclass(frozen=True, slots=True)
class Suite:
    """What is tested: a repository, how pytest is called there, and how long each test takes where somebody knows."""

    repository: Path
    pytest: str
    times: Sequence[float] = ()

    @property
    def by_whom(self) -> str:
        """What it is held against, in words."""
        return (
            "the same suite cut perfectly by hand, run by plain pytests at once" if self.times else "one plain pytest"
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One build: how long its shards ran, first to last, and what became of them."""

    wall_s: float
    by_hand_s: float
    state: str
    attempts: int


def made_suite(folder: Path, cases: int, seconds: float) -> Suite:
    """As suites are: most tests are short, a few take a hundred times as long."""
    dice = random.Random(SEED)
    drawn = [dice.lognormvariate(0, 1.2) for _ in range(cases)]
    times = [round(one * seconds / sum(drawn), 4) for one in drawn]
    say(f"{cases} tests that sleep {sum(times):.1f} s in all, the longest {max(times):.2f} s")
    text = SUITE.format(times=times)
    return Suite(
        small_repository(folder / "repository", more={"test_suite.py": text}), f"{PYTEST} test_suite.py", times
    )


def own_suite(folder: Path, paths: Sequence[str]) -> Suite:
    """Some of this repository's own tests, as they are committed."""
    git(ROOT, "clone", "-q", "--shared", str(ROOT), str(folder / "repository"))
    return Suite(folder / "repository", f"{PYTEST} -p pytest_timeout {' '.join(paths)}")


async def build(client: Client, suite: Suite, number: int, shards: int) -> int:
    """Submit the suite in so many shards."""
    pipeline = PIPELINE.format(shards=shards, env=json.dumps(PLAIN), pytest=suite.pytest)
    about = submission(number, pipeline, repo=str(suite.repository), sha=commit_of(suite.repository))
    submitted: int = (await client.ask("submit", about)).body["build"]
    return submitted


def parts_of(times: Sequence[float], parts: int) -> list[list[int]]:
    """The longest test first to whoever has least: as good as can be known beforehand, to within one short test."""
    cut: list[list[int]] = [[] for _ in range(parts)]
    taken_s = [0.0] * parts
    for number in sorted(range(len(times)), key=lambda each: -times[each]):
        least = taken_s.index(min(taken_s))
        cut[least].append(number)
        taken_s[least] += times[number]
    return cut


def by_hand(suite: Suite, parts: int) -> float:
    """How long plain pytests take at once, each with its part of the suite; one with all of it where nobody knows how
    long its tests take.
    """
    begun = time.monotonic()
    started = []
    for part in parts_of(suite.times, parts) if suite.times else [[]]:
        env = os.environ | PLAIN | {"PART": " ".join(map(str, sorted(part)))}
        started.append(subprocess.Popen(suite.pytest.split(), cwd=suite.repository, env=env, stdout=subprocess.DEVNULL))
    if any(process.wait(PATIENCE_S) for process in started):
        raise SystemExit("a suite that passes did not, by hand")
    return time.monotonic() - begun


async def finished(client: Client, number: int, by_hand_s: float) -> Run:
    """Wait for a build, and see when its shards ran."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            document: dict[str, Any] = await client.build(number)
            if document["finished_at"]:
                break
            await asyncio.sleep(0.05)
    if document["state"] != "passed":
        culprit = next(job for job in document["jobs"] if job["state"] != "passed")
        pieces = [piece.data async for piece in follow_log(client, culprit["id"], follow=False, tail_lines=LINES_SHOWN)]
        said = b"".join(pieces).decode(errors="replace")
        raise SystemExit(f"a suite that passes came to this: {document['reason']}\n{said}")
    attempts = [attempt for job in document["jobs"] for attempt in job["attempts"]]
    began = min(map(_at, (attempt["started_at"] for attempt in attempts if attempt["started_at"])))
    ended = max(map(_at, (attempt["finished_at"] for attempt in attempts if attempt["finished_at"])))
    return Run(wall_s=ended - began, by_hand_s=by_hand_s, state=document["state"], attempts=len(attempts))


def _at(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


@dataclass(slots=True)
class Stage:
    """Everything that a run needs, and how many builds there were."""

    client: Client
    suite: Suite
    builds: int = 0
    whole_s: float = 0.0
    """How long one plain pytest took, where that is what all runs are held against."""

    async def run(self, shards: int, kill: Sequence[psutil.Process] = ()) -> Run:
        """One build, between two runs by hand; some processes are killed half-way. What is the same for any number of
        shards is run by hand once.
        """
        before_s = self.whole_s or await asyncio.to_thread(by_hand, self.suite, shards)
        self.builds += 1
        number = await build(self.client, self.suite, self.builds, shards)
        if kill:
            await asyncio.sleep(sum(self.suite.times) / shards / 2 or before_s / 4)
            signal_all(kill, signal.SIGKILL)
        run = await finished(self.client, number, before_s)
        if not self.suite.times:
            self.whole_s = before_s
        after_s = self.whole_s or await asyncio.to_thread(by_hand, self.suite, shards)
        return replace(run, by_hand_s=(before_s + after_s) / 2)


async def measure(folder: Path, suite: Suite, only: Sequence[str]) -> Mapping[str, Run]:
    """All runs, each shard on a runner of its own."""
    runs: dict[str, Run] = {}
    names = [f"shards-{number}" for number in range(RUNNERS)]
    with dispatching(folder / "shards") as _:
        async with client_of(folder / "shards") as client, real_runners(client, folder, names, slots=1) as runners:
            stage = Stage(client, suite)
            for shards in (int(each) for each in only if each.isdecimal()):
                # The first build of all has no record of its tests; every later one has.
                for record in ("no record", "a record") if not runs else ("a record",):
                    runs[f"{shards} shards, {record}"] = await stage.run(shards)
            if "killed" in only:
                name = f"{RUNNERS} shards, one runner killed half-way"
                runs[name] = await stage.run(RUNNERS, all_of(runners[0]))
                kill_left_behind(folder / names[0])  # Its steps wait for an answer that nobody passes on any more.
    return runs


def shown(name: str, run: Run, suite: Suite) -> str:
    """A line about one run."""
    line = f"{name}: {run.wall_s:.1f} s, {run.wall_s / run.by_hand_s:.2f} times the {run.by_hand_s:.1f} s by hand"
    if suite.times:
        share_s = sum(suite.times) / int(name.split(maxsplit=1)[0])
        line += f", {run.wall_s / share_s:.2f} times the {share_s:.1f} s that the tests themselves take"
    return f"{line}; {run.state}, {run.attempts} attempts"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.shards", description="A suite split across runners.")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--only", default="4")
    parser.add_argument("--suite", nargs="*", default=[])
    options = parser.parse_args(arguments)
    # Steps see the programs that are in PATH, and what belongs to those.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    begun = time.monotonic()
    with scratch() as folder:
        suite = (
            own_suite(folder, options.suite) if options.suite else made_suite(folder, options.cases, options.seconds)
        )
        runs = asyncio.run(measure(folder, suite, options.only.split(",")))
    for each, one in runs.items():
        say(shown(each, one, suite))
    say(f"all of it took {time.monotonic() - begun:.0f} s")
    name, run = next(((name, run) for name, run in runs.items() if "a record" in name), next(iter(runs.items())))
    figure = Figure(
        what=name,
        value=f"{run.wall_s:.1f} s from the first step's start to the last one's end",
        limit=f"{run.by_hand_s:.1f} s, {suite.by_whom}",
        ratio=run.wall_s / run.by_hand_s,
        target=f"at most {TARGET} times the limit" if suite.times else "",
        met=run.wall_s <= TARGET * run.by_hand_s if suite.times else None,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
