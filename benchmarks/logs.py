"""Logs: how many megabytes a second of many jobs become durable, and how soon a line that a step prints is on a
follower's screen.

`python -m benchmarks.logs [--mib N] [--jobs N] [--lines N]`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.cluster import client_of, dispatching, environment, let_in, noop_pipeline, scratch, submission
from benchmarks.figures import MIB, Figure, Usage, say, spread
from benchmarks.limits import write_mib_per_s
from benchmarks.real import commit_of, real_runners, small_repository
from benchmarks.talker import talkers

TARGET_MB_PER_S: Final = 150
TARGET_LINE_MS: Final = 50
RUNNERS: Final = 2
PATIENCE_S: Final = 120.0
LINE_PAUSE_S: Final = 0.05
TALK: Final = """import time
for _ in range({count}):
    time.sleep({pause})
    print(time.monotonic_ns(), flush=True)
"""


async def ingest(folder: Path, *, mib: int, jobs: int) -> tuple[float, float]:
    """MB a second from the first byte's job to the last byte kept, and the dispatcher's CPU share meanwhile."""
    data = folder / "ingest"
    peers = let_in(data, [f"talker-{number}" for number in range(RUNNERS)])
    log_bytes = mib * MIB // jobs
    with dispatching(data) as dispatcher, talkers(dispatcher, peers, jobs // RUNNERS, log_bytes) as runners:
        tallies = [tally for _, tally in runners]
        async with client_of(data) as client:
            begun_ns = time.monotonic_ns()
            usage = Usage(dispatcher.pid)
            await client.ask("submit", submission(0, noop_pipeline(jobs)))
            until = time.monotonic() + PATIENCE_S
            while sum(tally.released.value for tally in tallies) < jobs:
                if time.monotonic() > until:
                    raise SystemExit("not all logs were kept in time")
                await asyncio.sleep(0.01)
            share = usage.share()
            took_s = (max(tally.released_at_ns.value for tally in tallies) - begun_ns) / 1e9
    return log_bytes * jobs / 1e6 / took_s, share


async def lines(folder: Path, count: int) -> list[float]:
    """Milliseconds from a step's write to a follower's standard output, for each of so many lines."""
    data = folder / "lines"
    repository = small_repository(folder / "repository", more={"talk.py": TALK.format(count=count, pause=LINE_PAUSE_S)})
    about = submission(0, "jobs: {test: {steps: [{run: 'python3 talk.py'}]}}")
    about |= {"repo": str(repository), "sha": commit_of(repository)}
    took: list[float] = []
    with dispatching(data):
        async with client_of(data) as client, real_runners(client, folder, ["lines-1"], slots=1):
            build = (await client.ask("submit", about)).body["build"]
            command = [sys.executable, "-m", "surveil", "logs", "--data", str(data), "-f", str(build)]
            follower = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment({"PYTHONUNBUFFERED": "1"})
            )
            assert follower.stdout is not None, "a pipe was asked for"
            async with asyncio.timeout(PATIENCE_S):
                async for line in follower.stdout:
                    took += [(time.monotonic_ns() - int(line)) / 1e6]
                await follower.wait()
    if len(took) != count:
        raise SystemExit(f"the follower saw {len(took)} of {count} lines")
    # The follower came while the step was running already: what it caught up with says nothing.
    return took[count // 3 :]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.logs", description="Log ingest, and the way of one line.")
    parser.add_argument("--mib", type=int, default=1024, help="all logs together")
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--lines", type=int, default=90)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        took = asyncio.run(lines(folder, options.lines))
        plain = write_mib_per_s(folder, mib=options.mib) * MIB / 1e6
        rate, share = asyncio.run(ingest(folder, mib=options.mib, jobs=options.jobs))
    p50 = statistics.median(took)
    say(f"a line from a step's write to a follower's screen: {spread(took)} (target p50 {TARGET_LINE_MS} ms)")
    say(
        f"ingest of {options.jobs} logs: {rate:.0f} MB/s, {share:.0%} of a core; plain fsynced writes: {plain:.0f} MB/s"
    )
    figure = Figure(
        what="durable log ingest",
        value=f"{rate:.0f} MB/s; a line is seen after p50 {p50:.1f} ms",
        limit=f"{plain:.0f} MB/s",
        ratio=rate / plain,
        target=f"{TARGET_MB_PER_S} MB/s, {TARGET_LINE_MS} ms",
        met=rate >= TARGET_MB_PER_S and p50 <= TARGET_LINE_MS,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
