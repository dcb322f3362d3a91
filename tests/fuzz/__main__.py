"""`python -m tests.fuzz [TARGET ...] [--seconds N] [--jobs N]`: every target for so long, and a table.

`--replay TARGET TEXT` tries one input again, as a finding prints it; this needs no engine.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.fuzz.campaign import Outcome, default_corpus, fuzz, has_engine
from tests.fuzz.targets import ALONE, TARGETS

SECONDS: Final = 60
HEAD: Final = f"{'target':<10} {'seconds':>7} {'runs':>10} {'runs/s':>7} {'branches':>8} {'kept':>6} {'MiB':>5}  found"


def main() -> int:
    """Run what was asked for; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="so many at one time")
    parser.add_argument("--corpus", type=Path, default=default_corpus(), help="where inputs are kept (build/fuzz)")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "TEXT"), help="try one input again")
    asked = parser.parse_args()
    if asked.replay:
        name, text = asked.replay
        TARGETS[name].check(base64.b85decode(text))
        _say("nothing is wrong with it")
        return 0
    names = asked.targets or list(ALONE)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    if not has_engine():
        _say(
            "There is no atheris here: it has wheels for Linux on x86-64 and Python 3.11 to 3.13. "
            "Run this there; `pytest tests/fuzz` replays what was found, everywhere."
        )
        return 2
    _say(HEAD)
    with ThreadPoolExecutor(max(1, asked.jobs)) as pool:
        running = [pool.submit(fuzz, name, asked.seconds, asked.corpus / name) for name in names]
        outcomes = [_told(each.result()) for each in running]
    return 1 if any(outcome.complaint for outcome in outcomes) else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _told(outcome: Outcome) -> Outcome:
    """Print a line of the table, and what was found below it."""
    _say(
        f"{outcome.target:<10} {outcome.seconds:>7} {outcome.runs:>10} {outcome.per_second:>7} {outcome.coverage:>8} "
        f"{outcome.kept:>6} {outcome.peak_mib:>5}  {'SOMETHING' if outcome.complaint else 'nothing'}"
    )
    if outcome.complaint:
        _say(outcome.complaint)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
