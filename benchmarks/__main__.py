"""`python -m benchmarks`: every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

NAMES: Final = (
    "dispatch",
    "latency",
    "push",
    "builds",
    "failover",
    "scale",
    "logs",
    "idle",
    "watch",
    "validate",
    "containers",
    "pages",
)


def main() -> int:
    """Run all; returns 1 where one of them broke."""
    last: list[str] = []
    broken = 0
    for name in NAMES:
        print(f"== {name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, end="", flush=True)
        broken |= done.returncode != 0
        last += [(done.stdout.splitlines() or [f"{name} broke"])[-1]]
    print("== figures", *last, sep="\n")
    return broken


if __name__ == "__main__":
    sys.exit(main())
