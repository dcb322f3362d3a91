"""What a job in a container costs over `docker run` of the same image, and a further step of it, by an engine that is
started for this; container and plain run take turns, so that both have the same machine.

`python -m benchmarks.containers [--times N]`
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, say
from surveil.execute.local import LocalRun
from surveil.protocol import ImageSpec, JobSpec, StepSpec
from tests.engines.docker import Docker, missing
from tests.engines.images import PROBE, make_images

JOB_TARGET_MS: Final = 150.0
STEP_TARGET_MS: Final = 30.0
STEPS: Final = 20


def job(steps: int) -> JobSpec:
    """A job of steps that do nothing."""
    step = StepSpec(name="nothing", run="true", env={})
    return JobSpec(
        name="job",
        env={},
        timeout_ms=60_000,
        steps=(step,) * steps,
        matrix={},
        image=ImageSpec(name=PROBE, pull="never"),
    )


def run_plain(address: str) -> float:
    """Milliseconds of one `docker run`."""
    command = ["docker", "-H", address, "run", "--rm", "--entrypoint", "/bin/sh", PROBE, "-c", "true"]
    began = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return 1000 * (time.monotonic() - began)


def run_ours(local: LocalRun, steps: int) -> float:
    """Milliseconds of one job, from the wish to the last of its folders."""
    began = time.monotonic()
    ended = local.run(job(steps), on_output=lambda _: None)
    if ended.outcome != "passed":
        raise SystemExit(ended.reason)
    return 1000 * (time.monotonic() - began)


def measure(times: int) -> list[Figure]:
    """The two figures: of a job with one step, and of one more step."""
    with contextlib.ExitStack() as stack:
        engine = Docker(Path(tempfile.mkdtemp(prefix="surveil-docker-", dir="/tmp")))  # a short path
        stack.callback(engine.close)
        engine.start()
        with contextlib.closing(engine.api()) as api:
            make_images(api)
        work = stack.enter_context(tempfile.TemporaryDirectory())
        local = stack.enter_context(LocalRun(Path(work), engine=engine.address))
        run_ours(local, 1)
        plain, one, many = [], [], []
        for _ in range(times):
            plain.append(run_plain(engine.address))
            one.append(run_ours(local, 1))
            many.append(run_ours(local, 1 + STEPS))
    run, job_ms, longer = (statistics.median(each) for each in (plain, one, many))
    say(f"docker run {run:.0f} ms, a job of one step {job_ms:.0f} ms, of {1 + STEPS} steps {longer:.0f} ms")
    base = f"{run:.0f} ms for `docker run`"
    step_ms, over_ms = (longer - job_ms) / STEPS, job_ms - run
    return [
        Figure(
            what="a further step in a container", value=f"{step_ms:.1f} ms", limit=base, ratio=step_ms / run,
            target=f"{STEP_TARGET_MS:.0f} ms", met=step_ms <= STEP_TARGET_MS,
        ),
        Figure(
            what="a job in a container beyond `docker run`", value=f"{over_ms:.0f} ms", limit=base, ratio=job_ms / run,
            target=f"{JOB_TARGET_MS:.0f} ms", met=over_ms <= JOB_TARGET_MS,
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    wanted = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    os.environ.pop("DOCKER_HOST", None)
    for figure in measure(wanted.times):
        say(str(figure))


if __name__ == "__main__":
    main()
