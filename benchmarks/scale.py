"""What many runners and many queued jobs cost: memory for each idle connected runner, the dispatcher's CPU share while
they beat, memory for each queued job, and how fast a long queue is dispatched beside an empty one.

`python -m benchmarks.scale [--runners 1000,10000] [--jobs N] [--big]`
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import Dispatcher, PeerKey, client_of, dispatching, let_in, noop_pipeline, scratch, submission
from benchmarks.crowd import crowd, let_crowd_in
from benchmarks.figures import MIB, Figure, Usage, say
from benchmarks.noop import noop_runners
from surveil.client.asking import Client

HEARTBEAT_S: Final = 2.0
RUNNERS_TARGET: Final = 10_000
RUNNERS_MIB: Final = 400
BYTES_A_JOB: Final = 1_600
SLOTS: Final = 32
RATE_TARGET: Final = 0.8
JOBS_A_BUILD: Final = 250
PATIENCE_S: Final = 240.0
BIG: Final = 1_000_000
ASKED_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowded:
    """A dispatcher with so many idle runners."""

    runners: int
    kib_each: float
    rss_mib: float
    share: float
    beats_per_s: float
    storm_per_s: float


async def with_runners(folder: Path, *, runners: int, seconds: float) -> Crowded:
    """Connect so many runners, and watch the dispatcher while they beat."""
    data = folder / f"crowd-{runners}"
    peers = let_crowd_in(data, runners)
    with dispatching(data) as dispatcher:
        usage = Usage(dispatcher.pid)
        await asyncio.sleep(0.5)
        idle_mib = usage.rss_mib()
        begun = first_at = time.monotonic()
        with crowd(dispatcher, peers, processes=2, heartbeat_s=HEARTBEAT_S) as tallies:
            while (welcomed := sum(tally.welcomed.value for tally in tallies)) < runners:
                if time.monotonic() - begun > PATIENCE_S:
                    raise SystemExit(f"only {welcomed} runners were welcomed")
                if not welcomed:
                    first_at = time.monotonic()
                await asyncio.sleep(0.02)
            storm_s = time.monotonic() - first_at
            await asyncio.sleep(HEARTBEAT_S)
            beats = sum(tally.beats.value for tally in tallies)
            usage.again()
            await asyncio.sleep(seconds)
            share, beats = usage.share(), sum(tally.beats.value for tally in tallies) - beats
            rss_mib = usage.rss_mib()
    return Crowded(
        runners=runners, kib_each=(rss_mib - idle_mib) * 1024 / runners, rss_mib=rss_mib, share=share,
        beats_per_s=beats / seconds, storm_per_s=runners / storm_s,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A dispatcher with so many jobs in its queue."""

    jobs: int
    bytes_each: float
    rss_mib: float
    empty_cpu_us: float
    full_cpu_us: float
    empty_per_s: float
    full_per_s: float


async def with_queue(folder: Path, *, jobs: int, measured: int) -> Queued:
    """Dispatch `measured` jobs that are alone in the queue, then as many of a queue that holds `jobs`."""
    data = folder / f"queue-{jobs}"
    peers = let_in(data, ["noop-1", "noop-2"])
    builds, few = max(1, jobs // JOBS_A_BUILD), max(1, measured // JOBS_A_BUILD)
    with dispatching(data) as dispatcher:
        async with client_of(data) as client:
            await _submit(client, 0, few)
            empty_per_s, empty_cpu_us = await _dispatched(dispatcher, peers, few * JOBS_A_BUILD)
            usage = Usage(dispatcher.pid)
            before_mib = usage.rss_mib()
            await _submit(client, few, builds)
            rss_mib = usage.rss_mib()
            full_per_s, full_cpu_us = await _dispatched(dispatcher, peers, min(few, builds) * JOBS_A_BUILD)
    return Queued(
        jobs=builds * JOBS_A_BUILD, bytes_each=(rss_mib - before_mib) * MIB / (builds * JOBS_A_BUILD), rss_mib=rss_mib,
        empty_cpu_us=empty_cpu_us, full_cpu_us=full_cpu_us, empty_per_s=empty_per_s, full_per_s=full_per_s,
    )  # fmt: skip


async def _submit(client: Client, first: int, builds: int) -> None:
    pipeline, gate = noop_pipeline(JOBS_A_BUILD), asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await client.ask("submit", submission(number, pipeline))

    await asyncio.gather(*(one(first + number) for number in range(builds)))


async def _dispatched(dispatcher: Dispatcher, peers: Sequence[PeerKey], jobs: int) -> tuple[float, float]:
    """Let two runners take so many jobs; returns how many they took a second, and the dispatcher's microseconds of CPU
    for each, from the first tenth on.
    """
    usage = Usage(dispatcher.pid)
    begun = 0
    begun_at = until = time.monotonic()
    with noop_runners(dispatcher, [[peer] for peer in peers], SLOTS) as runners:
        while (done := sum(tally.released.value for _, tally in runners)) < jobs:
            if not begun and done >= jobs // 10:
                usage.again()
                begun, begun_at = done, time.monotonic()
            if time.monotonic() - until > PATIENCE_S:
                raise SystemExit(f"only {done} of {jobs} jobs ended")
            await asyncio.sleep(0.002)
        return (done - begun) / (time.monotonic() - begun_at), usage.cpu_s() / (done - begun) * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description="Many runners, many queued jobs.")
    parser.add_argument("--runners", default="1000,10000", help="crowds, one after the other")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each crowd is watched")
    parser.add_argument("--jobs", type=int, default=50_000, help="how many jobs are queued")
    parser.add_argument("--measured", type=int, default=5_000, help="how many of them are dispatched")
    parser.add_argument("--big", action="store_true", help=f"queue {BIG} jobs")
    options = parser.parse_args(arguments)
    with scratch() as folder:
        queued = asyncio.run(with_queue(folder, jobs=BIG if options.big else options.jobs, measured=options.measured))
        _say_queue(queued)
        crowds = []
        for runners in [int(text) for text in options.runners.split(",") if text]:
            crowds.append(asyncio.run(with_runners(folder, runners=runners, seconds=options.seconds)))
            _say_crowd(crowds[-1])
    relative = queued.empty_cpu_us / queued.full_cpu_us
    most = crowds[-1]
    figure = Figure(
        what=f"{most.runners} idle runners; {queued.jobs} queued jobs",
        value=f"{most.rss_mib:.0f} MiB and {most.share:.0%} of a core; {queued.bytes_each:.0f} bytes a job",
        limit="the dispatch of an empty queue (CPU a job)",
        ratio=relative,
        target=f"{RUNNERS_TARGET} under {RUNNERS_MIB} MiB and a core; 1600 bytes a job; ratio {RATE_TARGET}",
        met=most.rss_mib <= RUNNERS_MIB
        and most.share < 1
        and queued.bytes_each <= BYTES_A_JOB
        and relative >= RATE_TARGET,
    )
    say(str(figure))


def _say_queue(queued: Queued) -> None:
    say(
        f"{queued.jobs} queued jobs: {queued.bytes_each:.0f} bytes each, {queued.rss_mib:.0f} MiB in all; dispatched "
        f"at {queued.full_per_s:.0f}/s and {queued.full_cpu_us:.0f} us of CPU each, beside "
        f"{queued.empty_per_s:.0f}/s and {queued.empty_cpu_us:.0f} us from an empty queue"
    )


def _say_crowd(crowded: Crowded) -> None:
    say(
        f"{crowded.runners} idle runners: {crowded.kib_each:.0f} KiB each, {crowded.rss_mib:.0f} MiB in all, "
        f"{crowded.share:.0%} of a core for {crowded.beats_per_s:.0f} heartbeats/s; they came at "
        f"{crowded.storm_per_s:.0f}/s"
    )


if __name__ == "__main__":
    main()
