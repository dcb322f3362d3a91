"""From a commit in a local repository of 1000 files to the first byte of its first step, with real processes: observer,
dispatcher, runner, keeper, a fresh work tree.

`python -m benchmarks.push [--times N] [--files N]`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.cluster import client_of, dispatching, scratch
from benchmarks.figures import Figure, percentile, say, spread
from benchmarks.real import FILES, commit_of, git, real_observer, real_runners, small_repository
from surveil.client.asking import Client
from surveil.client.following import wait_for

TARGET_MS: Final = 40
PATIENCE_S: Final = 30.0
WARM_UP: Final = 2
PAUSE_S: Final = 1.0
"""People are slower than this; a runner does its upkeep in between."""
# The first thing that the step does is to say what time it is.
PIPELINE: Final = "jobs: {test: {steps: [{run: 'date +%s%N'}]}}\n"


async def measure(folder: Path, *, times: int, files: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the step's first byte, from the start of `git commit` and from its end, for each commit."""
    data = folder / "push"
    repository = small_repository(folder / "repository", files=files, more={".surveil.yml": PIPELINE})
    from_start, from_end = [], []
    with dispatching(data):
        async with (
            client_of(data) as client,
            real_runners(client, folder, ["push-1"], slots=1),
            real_observer(client, folder, repository),
        ):
            await _verdict_of(client, commit_of(repository))
            for number in range(WARM_UP + times):
                (repository / "change.txt").write_text(f"{number}\n")
                git(repository, "add", "-A")
                begun_ns = time.time_ns()
                git(repository, "commit", "-q", "-m", f"change {number}")
                ended_ns = time.time_ns()
                said_ns = await _verdict_of(client, commit_of(repository))
                from_start.append((said_ns - begun_ns) / 1e6)
                from_end.append((said_ns - ended_ns) / 1e6)
                await asyncio.sleep(PAUSE_S)
    return from_start[WARM_UP:], from_end[WARM_UP:]


async def _verdict_of(client: Client, sha: str) -> int:
    """Wait for the verdict of a commit; returns what its step said, nanoseconds since 1970."""
    async with asyncio.timeout(PATIENCE_S):
        after = 0
        while True:
            builds = [build for build in await client.builds(limit=3) if build["sha"] == sha]
            if builds:
                break
            page = (await client.ask("journal", {"after": after, "wait_ms": 200})).body
            after = page["position"]
        document = await wait_for(client, builds[0]["id"])
    if document["state"] != "passed":
        raise SystemExit(f"build {document['id']} is {document['state']}: {document['reason']}")
    # The verdict travels on another connection than the log, and may be there first.
    answer = await client.ask("log", {"job": f"{document['id']}/test", "wait_ms": int(PATIENCE_S * 1000)})
    return int(answer.data.split()[0])


def fetch_and_check_out_ms(folder: Path, *, files: int, times: int = 5) -> float:
    """What plain git takes (median) to fetch one commit into a mirror and to bring a work tree to it."""
    origin = small_repository(folder / "origin", files=files)
    git(folder, "clone", "-q", "--mirror", str(origin), "mirror")
    git(folder, "clone", "-q", "--shared", str(folder / "mirror"), "tree")
    took = []
    for number in range(times):
        (origin / "change.txt").write_text(f"{number}\n")
        git(origin, "add", "-A")
        git(origin, "commit", "-q", "-m", "change")
        sha = commit_of(origin)
        begun = time.perf_counter()
        git(folder / "mirror", "fetch", "-q", "origin")
        git(folder / "tree", "checkout", "-q", "-f", "--detach", sha)
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.push", description="From a commit to its first step.")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--files", type=int, default=FILES)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        from_start, from_end = asyncio.run(measure(folder, times=options.times, files=options.files))
        plain = fetch_and_check_out_ms(folder, files=options.files)
    say(f"from the start of git commit: {spread(from_start)}")
    say(f"from its end: {spread(from_end)}, p90 {percentile(from_end, 0.9):.1f} ms")
    p50 = statistics.median(from_end)
    figure = Figure(
        what=f"commit to first byte of the first step, {options.files} files",
        value=f"p50 {p50:.1f} ms",
        limit=f"{plain:.1f} ms for plain git fetch and checkout",
        ratio=p50 / plain,
        target=f"p50 {TARGET_MS} ms",
        met=p50 <= TARGET_MS,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
