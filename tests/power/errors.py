"""One call of the disk fails, each in its turn: `python -m tests.power.errors` strikes every one of them.

The workload goes on or ends with an error; then power is lost, and everything that was promised until then must be
there. So no error may be taken for a success, and no sync that failed may be believed when it is repeated.
"""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.disks.mounted import Mounted, mounted, read_trace
from tests.power.promises import Promises, broken

STEPS: Final = 40
SEED: Final = 5


@dataclass(frozen=True, slots=True)
class Way:
    """How a call fails. `done` means that only its answer is lost."""

    kind: str
    number: int
    done: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {errno.errorcode[self.number]}{' although it was done' if self.done else ''}"


WAYS: Final = (
    Way("write", errno.ENOSPC),
    Way("write", errno.EIO),
    Way("make", errno.ENOSPC),
    Way("sync", errno.ENOSPC),
    Way("sync", errno.EIO),
    Way("sync", errno.EIO, done=True),
    Way("rename", errno.EIO),
)


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of it: how many such calls there were, whether the workload ended by it, and what it said last."""

    met: int
    ended: bool
    said: str
    problems: list[str]


def strike(folder: Path, way: Way, at: int) -> Struck:
    """Let the `at`-th call of this kind fail once."""
    trace = folder / "trace"
    with mounted(folder / "disk", trace=trace) as disk:
        disk.fail(way.kind, number=way.number, at=at, count=1, done=way.done)
        worked = _work(disk)
        met = disk.met()
        disk.lose_power(at, folder / "left")
    promises = Promises()
    for step in read_trace(trace):
        if step[0] == "mark":
            promises.hear(step[1])
    problems = broken(folder / "left", promises, thorough=True)
    return Struck(met, worked.returncode != 0, (worked.stderr.strip() or "nothing").splitlines()[-1], problems)


def _work(disk: Mounted) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.power.workload", str(disk.folder), str(SEED), str(STEPS)]
    return subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)


def strike_all(folder: Path, way: Way, first: int = 1, step: int = 1) -> Iterator[tuple[int, Struck]]:
    """The `first` call, then each `step`-th, until there are no more of them."""
    at = first
    while True:
        struck = strike(folder, way, at)
        if struck.met < at:
            return
        yield at, struck
        at += step


def main() -> int:
    """Strike all."""
    words = argparse.ArgumentParser(prog="python -m tests.power.errors", description=__doc__)
    words.add_argument("--step", type=int, default=1, help="strike only every so many-th (default: 1)")
    asked = words.parse_args()
    struck = failures = 0
    with tempfile.TemporaryDirectory(prefix="surveil-errors-") as name:
        for way in WAYS:
            for at, found in strike_all(Path(name), way, step=asked.step):
                struck += 1
                failures += bool(found.problems)
                if found.problems:
                    _say(f"{way} at call {at} ({found.said}): {'; '.join(found.problems)}")
            _say(f"{way}: {struck} calls failed so far")
    _say(f"{struck} calls failed: {failures} broke a promise")
    return 1 if failures else 0


def _say(line: str) -> None:
    """At once: it takes most of an hour."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
