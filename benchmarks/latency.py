"""The time from a client's submission to the start of the job, one after the other, with everything idle: the real
dispatcher, its database, CURVE, and a runner that does nothing.

`python -m benchmarks.latency [--times N]`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.cluster import client_of, dispatching, let_in, noop_pipeline, scratch, submission, until_online
from benchmarks.figures import Figure, percentile, say, spread
from benchmarks.limits import fsync_ms, round_trips_per_s
from benchmarks.noop import noop_runners

P50_MS: Final = 1.5
P99_MS: Final = 10.0
PAUSE_S: Final = 0.01
LOOK_S: Final = 0.0005
PATIENCE_S: Final = 10.0
WARM_UP: Final = 5


async def measure(folder: Path, times: int) -> list[float]:
    """Milliseconds from submission to start, for each of so many jobs."""
    data = folder / "latency"
    peers = let_in(data, ["noop-1"])
    took = []
    with dispatching(data) as dispatcher, noop_runners(dispatcher, [peers], slots=1) as runners:
        tally = runners[0][1]
        async with client_of(data) as client:
            await until_online(client, 1)
            pipeline = noop_pipeline(1)
            for number in range(WARM_UP + times):
                begun_ns = time.monotonic_ns()
                asking = asyncio.create_task(client.ask("submit", submission(number, pipeline)))
                until = time.monotonic() + PATIENCE_S
                while tally.released.value <= number:
                    if time.monotonic() > until:
                        raise SystemExit("a submitted job did not end")
                    # The runner itself says when the job started; looking often costs it nothing.
                    await asyncio.sleep(LOOK_S)
                took.append((tally.started_at_ns.value - begun_ns) / 1e6)
                await asking
                await asyncio.sleep(PAUSE_S)
    return took[WARM_UP:]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.latency", description="Idle submission to start.")
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--limit-s", type=float, default=1.0)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        took = asyncio.run(measure(folder, options.times))
        fsync = statistics.median(fsync_ms(folder, times=100))
        trip = 1000 / round_trips_per_s(peers=1, in_flight=1, seconds=options.limit_s)
    p50, p99 = statistics.median(took), percentile(took, 0.99)
    # To the dispatcher, on to the runner: one round trip; and the build must be on disk in between.
    limit = trip + fsync
    say(f"submission to start: {spread(took)}")
    say(f"limit: a round trip of {trip:.2f} ms and an fsync of {fsync:.2f} ms (medians)")
    figure = Figure(
        what="idle submission to start",
        value=f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
        limit=f"{limit:.2f} ms",
        ratio=p50 / limit,
        target=f"p50 {P50_MS} ms, p99 {P99_MS:.0f} ms",
        met=p50 <= P50_MS and p99 <= P99_MS,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
