"""Losses of power, as many as asked for: `python -m tests.power --points 100000 --seed 1`.

Each seed is one run of `workload` on a disk of its own; power is then lost after every step of its trace, several
times each, and everything that was promised until then must be there. What fails prints its seed, its step and the
command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.disks.images import write_image
from tests.disks.model import Disk, replay
from tests.disks.mounted import mounted, read_trace
from tests.power.promises import Promises, broken

STEPS = 60
"""How much one run does."""
THOROUGH_EVERY = 40
_SILENT = frozenset({"mark", "chmod", "forget", "sync_failed"})
"""Steps after which nothing else could be lost than before them."""


def traced(folder: Path, seed: int, *more: str) -> Path:
    """One run of the workload; returns the trace of its disk."""
    trace = folder / "trace"
    with mounted(folder / "disk", trace=trace):
        words = [sys.executable, "-m", "tests.power.workload", str(folder / "disk"), str(seed), str(STEPS), *more]
        subprocess.run(words, check=True, cwd=Path(__file__).parents[2])
    return trace


def losses(
    trace: Path, seed: int, *, each: float, left: Path, only: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Lose power after the steps of a trace, `each` times on average; yields the step, and which promises are broken.

    What is left lies in `left`; with `only`, at that point alone.
    """
    disk, promises = Disk(), Promises()
    point = 0
    dice = random.Random(seed)
    for at, step in enumerate(replay(disk, read_trace(trace))):
        if step[0] == "mark":
            promises.hear(step[1])
        if step[0] in _SILENT:
            continue
        for _ in range(int(each) + (dice.random() < each % 1)):
            point += 1
            if only is not None and at != only:
                continue
            write_image(disk.lost(random.Random(f"{seed} {point}")), left)
            yield at, broken(left, promises, thorough=point % THOROUGH_EVERY == 0)


def main() -> int:
    """Lose power so many times."""
    words = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    words.add_argument("--points", type=int, default=1000, help="how often power is lost (default: 1000)")
    words.add_argument("--seed", type=int, default=1, help="the first run's seed (default: 1)")
    words.add_argument("--each", type=float, default=2, help="how often after each step (default: 2)")
    words.add_argument("--only", type=int, help="after this step alone, of the first run")
    asked = words.parse_args()
    points = failures = runs = 0
    with tempfile.TemporaryDirectory(prefix="surveil-power-", dir=_memory()) as name:
        while points < asked.points:
            folder, seed = Path(name, str(runs)), asked.seed + runs
            runs += 1
            for at, problems in losses(
                traced(folder, seed), seed, each=asked.each, left=folder / "left", only=asked.only
            ):
                points += 1
                if problems:
                    failures += 1
                    sys.stdout.write(f"seed {seed}, step {at}: {'; '.join(problems)}\n")
                    sys.stdout.write(f"    python -m tests.power --seed {seed} --each {asked.each} --only {at}\n")
                if points >= asked.points:
                    break
            if asked.only is not None:
                break
    sys.stdout.write(f"{points} losses of power in {runs} runs: {failures} broke a promise\n")
    return 1 if failures else 0


def _memory() -> str | None:
    """A place that is no disk: images are written by the ten thousand."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
