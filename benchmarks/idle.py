"""What surveil takes while nothing happens: the resident memory of an idle dispatcher, runner and observer, and how
long the smallest commands take.

`python -m benchmarks.idle [--times N]`
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

from benchmarks.cluster import client_of, dispatching, environment, scratch
from benchmarks.figures import Figure, Usage, say
from benchmarks.real import all_of, real_observer, real_runners, small_repository

DISPATCHER_MIB: Final = 90
RUNNER_MIB: Final = 35
OBSERVER_MIB: Final = 45
HELP_MS: Final = 150
STATUS_MS: Final = 300
SETTLE_S: Final = 4.0


async def measure(folder: Path, *, times: int) -> dict[str, float]:
    """MiB of each role with its helper processes apart, CPU shares while idle, and milliseconds of commands."""
    data, repository = folder / "idle", small_repository(folder / "repository", files=20)
    found: dict[str, float] = {}
    with dispatching(data) as dispatcher:
        async with (
            client_of(data) as client,
            real_runners(client, folder, ["idle-1"], slots=2) as runners,
            real_observer(client, folder, repository) as observer,
        ):
            await asyncio.sleep(SETTLE_S)
            watched = {
                "dispatcher": Usage(dispatcher.pid),
                "runner": Usage(runners[0].pid),
                "observer": Usage(observer.pid),
            }
            await asyncio.sleep(SETTLE_S)
            for name, usage in watched.items():
                found[name], found[f"{name} cpu"] = usage.rss_mib(), usage.share()
            helpers = [Usage(each.pid) for each in all_of(runners[0])[1:]]
            found["zygote"] = sum(helper.pss_mib() for helper in helpers)
            found["help"] = _took_ms(["--help"], times)
            found["status"] = _took_ms(["status", "--data", str(data)], times)
    return found


def _took_ms(arguments: Sequence[str], times: int) -> float:
    """How long a command takes (median)."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "surveil", *arguments], check=True, capture_output=True, env=environment({})
        )
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def _python_ms(times: int) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import click"], check=True)
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.idle", description="Memory and start-up times.")
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        found = asyncio.run(measure(folder, times=options.times))
        python_ms = _python_ms(options.times)
    for name, target in (("dispatcher", DISPATCHER_MIB), ("runner", RUNNER_MIB), ("observer", OBSERVER_MIB)):
        say(f"idle {name}: {found[name]:.0f} MiB (target {target}), {found[f'{name} cpu']:.1%} of a core")
    say(f"the runner's zygote beside it: {found['zygote']:.0f} MiB (proportional)")
    say(f"--help {found['help']:.0f} ms (target {HELP_MS}), status {found['status']:.0f} ms (target {STATUS_MS})")
    met = (
        found["dispatcher"] <= DISPATCHER_MIB
        and found["runner"] <= RUNNER_MIB
        and found["observer"] <= OBSERVER_MIB
        and found["help"] <= HELP_MS
        and found["status"] <= STATUS_MS
    )
    figure = Figure(
        what="idle dispatcher, runner, observer; --help, status",
        value=f"{found['dispatcher']:.0f}/{found['runner']:.0f}/{found['observer']:.0f} MiB; "
        f"{found['help']:.0f}, {found['status']:.0f} ms",
        limit=f"{python_ms:.0f} ms for Python and click alone",
        ratio=found["help"] / python_ms,
        target=f"{DISPATCHER_MIB}/{RUNNER_MIB}/{OBSERVER_MIB} MiB; {HELP_MS}, {STATUS_MS} ms",
        met=met,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
