"""Durable no-op jobs: from a build's submission to the last verdict on disk, with the real dispatcher, CURVE, and two
runner processes that do nothing: the quickest honest ones, and for comparison some with the runner's real mind.

`python -m benchmarks.dispatch [--jobs N] [--jobs-per-build N] [--slots 32,4,1]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import (
    Dispatcher,
    client_of,
    dispatching,
    let_in,
    noop_pipeline,
    scratch,
    submission,
    until_online,
)
from benchmarks.figures import Figure, Usage, say
from benchmarks.limits import round_trips_per_s, rows_per_s
from benchmarks.noop import Tally, noop_runners
from benchmarks.sprint import sprinters
from surveil.client.asking import Client

TARGET_PER_S: Final = 10_000
TARGET_CPU_US: Final = 80
BUILDS_IN_FLIGHT: Final = 8
PATIENCE_S: Final = 120.0
WARM_UP_BUILDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run: `cpu_us` is the dispatcher's whole process, `rows` what is inserted for a job, `changed` not counted."""

    slots: int
    jobs: int
    per_s: float
    cpu_us: float
    runner_cpu_us: float
    rows: float


async def measure(folder: Path, *, jobs: int, jobs_per_build: int, slots: int, minds: bool = False) -> Result:
    """Run so many jobs on two runners with `slots` each: the quickest honest ones, or those with the real mind."""
    data = folder / f"slots-{slots}-{jobs_per_build}-{minds}"
    peers = let_in(data, ["noop-1", "noop-2"])
    with contextlib.ExitStack() as stack:
        dispatcher = stack.enter_context(dispatching(data))
        groups = [[peer] for peer in peers]
        playing = noop_runners(dispatcher, groups, slots) if minds else sprinters(dispatcher, peers, slots)
        runners = stack.enter_context(playing)
        tallies = [tally for _, tally in runners]
        async with client_of(data) as client:
            await until_online(client, len(peers))
            warm = WARM_UP_BUILDS
            await run_builds(client, tallies, 0, warm, jobs_per_build)
            rows_before = _rows(data)
            usage = Usage(dispatcher.pid)
            runner_usages = [Usage(process.pid or 0) for process, _ in runners]
            builds = max(1, jobs // jobs_per_build)
            took_s = await run_builds(client, tallies, warm, builds, jobs_per_build)
            cpu_s = usage.cpu_s()
            runner_cpu_s = sum(each.cpu_s() for each in runner_usages)
        done = builds * jobs_per_build
        _check(dispatcher, warm + builds)
        return Result(
            slots=slots, jobs=done, per_s=done / took_s, cpu_us=cpu_s / done * 1e6,
            runner_cpu_us=runner_cpu_s / done * 1e6, rows=(_rows(data) - rows_before) / done,
        )  # fmt: skip


async def run_builds(client: Client, tallies: Sequence[Tally], first: int, builds: int, jobs_per_build: int) -> float:
    """Submit builds, a few at a time ahead of the runners; returns the seconds from the first submission to the last
    verdict.
    """
    pipeline = noop_pipeline(jobs_per_build)
    base = sum(tally.released.value for tally in tallies)
    begun_ns = time.monotonic_ns()
    until = time.monotonic() + PATIENCE_S
    ahead = max(1, BUILDS_IN_FLIGHT, 512 // jobs_per_build)
    asking: set[asyncio.Task[object]] = set()
    number = 0
    while True:
        released = sum(tally.released.value for tally in tallies) - base
        while number < builds and number * jobs_per_build - released < ahead * jobs_per_build:
            asking.add(asyncio.create_task(client.ask("submit", submission(first + number, pipeline))))
            number += 1
        if released >= builds * jobs_per_build:
            break
        if time.monotonic() > until:
            raise SystemExit(f"only {released} of {builds * jobs_per_build} jobs ended within {PATIENCE_S:.0f} s")
        await asyncio.sleep(0.005)
    for task in asking:
        await task
    return (max(tally.released_at_ns.value for tally in tallies) - begun_ns) / 1e9


def _rows(data: Path) -> int:
    with sqlite3.connect(f"file:{data}/surveil.db?mode=ro", uri=True) as database:
        tables = ("builds", "jobs", "attempts", "notes")
        counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608
    database.close()
    return sum(counts)


def _check(dispatcher: Dispatcher, builds: int) -> None:
    """Every verdict is on disk and says `passed`."""
    with sqlite3.connect(f"file:{dispatcher.data}/surveil.db?mode=ro", uri=True) as database:
        passed = database.execute("SELECT count(*) FROM builds WHERE state = 'passed'").fetchone()[0]
    database.close()
    if passed != builds:
        raise SystemExit(f"{passed} of {builds} builds passed: the figures mean nothing")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.dispatch", description="Durable no-op jobs a second.")
    parser.add_argument("--jobs", type=int, default=30_000, help="jobs of the first run; others get fewer")
    parser.add_argument("--jobs-per-build", type=int, default=200)
    parser.add_argument("--slots", default="32,4,1", help="jobs in flight on each of the two runners, one run for each")
    parser.add_argument("--limit-s", type=float, default=2.0, help="how long each limit is measured")
    options = parser.parse_args(arguments)
    slots = [int(text) for text in options.slots.split(",")]
    with scratch() as folder:
        results = []
        for index, each in enumerate(slots):
            jobs = options.jobs if index == 0 else max(options.jobs_per_build, options.jobs // 4)
            results.append(asyncio.run(measure(folder, jobs=jobs, jobs_per_build=options.jobs_per_build, slots=each)))
            _say(results[-1])
        alone = asyncio.run(measure(folder, jobs=max(1, options.jobs // 20), jobs_per_build=1, slots=slots[0]))
        minds = asyncio.run(
            measure(
                folder,
                jobs=max(options.jobs_per_build, options.jobs // 4),
                jobs_per_build=options.jobs_per_build,
                slots=slots[0],
                minds=True,
            )
        )
        say(f"with the runner's real mind: {minds.per_s:.0f} jobs/s, {minds.runner_cpu_us:.0f} us of the runners' CPU")
        say(f"builds of one job each: {alone.per_s:.0f} builds/s, {alone.cpu_us:.0f} us of dispatcher CPU a build")
        trips = round_trips_per_s(peers=2, in_flight=slots[0], seconds=options.limit_s)
        rows = rows_per_s(folder, rows_per_commit=100, seconds=options.limit_s)
    say(f"limit: {trips:.0f} ROUTER-DEALER round trips/s (CURVE, 2 peers), {rows:.0f} rows/s in SQLite (FULL, 100)")
    best = results[0]
    figure = Figure(
        what="durable no-op jobs",
        value=f"{best.per_s:.0f} jobs/s, {best.cpu_us:.0f} us of dispatcher CPU a job",
        limit=f"{trips:.0f} round trips/s",
        ratio=best.per_s / trips,
        target=f"{TARGET_PER_S} jobs/s and {TARGET_CPU_US} us",
        met=best.per_s >= TARGET_PER_S and best.cpu_us <= TARGET_CPU_US,
    )
    say(str(figure))


def _say(result: Result) -> None:
    say(
        f"{result.slots} in flight a runner: {result.per_s:.0f} jobs/s of {result.jobs}, {result.cpu_us:.0f} us of "
        f"dispatcher CPU a job ({result.cpu_us * result.per_s / 1e6:.0%} of a core), "
        f"{result.runner_cpu_us:.0f} us of the runners', {result.rows:.1f} new rows a job"
    )


if __name__ == "__main__":
    main()
