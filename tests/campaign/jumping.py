"""Runs surveil with a wall clock that jumps: `python -m tests.campaign.jumping FILE WORDS...`.

What belongs here: `time.time` and `time.time_ns` of one process, moved by the seconds that the file holds at each call.
What does not: clocks that count from the machine's start, which no clock setting moves.
"""

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def move(file: Path) -> None:
    """Let this process see another wall clock from now on."""
    real_ns: Callable[[], int] = time.time_ns

    def moved_ns() -> int:
        try:
            return real_ns() + int(float(file.read_text()) * 1_000_000_000)
        except (OSError, ValueError):
            return real_ns()  # It is being written.

    replaced: dict[str, Any] = {"time_ns": moved_ns, "time": lambda: moved_ns() / 1_000_000_000}
    for name, function in replaced.items():
        setattr(time, name, function)


def main() -> None:
    """Move the clock, and be surveil."""
    move(Path(sys.argv[1]))
    sys.argv = ["surveil", *sys.argv[2:]]
    runpy.run_module("surveil", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
