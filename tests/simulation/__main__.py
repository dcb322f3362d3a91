"""`python -m tests.simulation`: run many worlds, or one of them with everything that happens in it.

What belongs here: the command line. What does not: how worlds are run (swarm).
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.options import draw
from tests.simulation.swarm import Failure, Total, live, run_many
from tests.simulation.world import World

_SHOWN_MAX = 5


def main() -> int:
    """Run what the command line asks for; return 0 if nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many worlds to run (default: 2000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use (default: 2)")
    parser.add_argument("--seed", type=int, help="run this world alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _one(chosen.seed, trace=chosen.trace)
    return _many(range(chosen.start, chosen.start + chosen.seeds), chosen.jobs)


def _one(seed: int, *, trace: bool) -> int:
    if trace:
        World.trace = _aloud  # type: ignore[method-assign]  # a replay is told aloud, and differs in nothing else
    outcome = live(draw(seed))
    if isinstance(outcome, Failure):
        _say(outcome.report)
        return 1
    _say(str(outcome))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_quiet = World.trace


def _aloud(self: World, who: str, what: object) -> None:
    _say(f"{self.schedule.now:>8} {who:<12} {what}")
    _quiet(self, who, what)


def _many(seeds: range, jobs: int) -> int:
    total, began_at = Total(), time.monotonic()
    for outcomes in run_many(seeds, jobs):
        for outcome in outcomes:
            total.add(outcome)
            if isinstance(outcome, Failure) and len(total.failures) <= _SHOWN_MAX:
                sys.stderr.write(f"\n{outcome.report}\n")
        sys.stderr.write(f"\r{total.seeds} of {len(seeds)} seeds, {len(total.failures)} violations")
    sys.stderr.write("\n")
    for failure in total.failures:
        _say(f"seed {failure.seed}: {failure.rule}: {failure.sentence}")
    _say(total.sentence())
    _say(f"{time.monotonic() - began_at:.0f} s of real time")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
