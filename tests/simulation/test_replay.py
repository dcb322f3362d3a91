"""A seed is a whole world: the same one gives the same happenings, in any process, and a failure says how to
see it again.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import planted
from tests.simulation.options import draw
from tests.simulation.swarm import Failure, live

ROOT = Path(__file__).parents[2]
SEED = 5


def test_a_seed_happens_the_same_twice() -> None:
    first, second = live(draw(SEED)), live(draw(SEED))
    assert not isinstance(first, Failure), first.report
    assert first == second
    assert first.digest


def test_two_seeds_are_two_worlds() -> None:
    assert draw(SEED) != draw(SEED + 1)
    assert live(draw(SEED)) != live(draw(SEED + 1))


def test_a_seed_happens_the_same_whatever_the_order_of_hashes() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(SEED)]
    told = {
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": dice}, capture_output=True, text=True, check=True
        ).stdout
        for dice in ("1", "2")
    }
    assert len(told) == 1
    assert str(live(draw(SEED))) in told.pop()


def test_the_alarm_works() -> None:
    """A world with a planted bug fails, and its report says what, where and how to see it again."""
    canary = next(mutant for mutant in MUTANTS if mutant.name == "slots ignored")
    with planted(canary):
        outcomes = [live(draw(seed)) for seed in range(6)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failures
    failure = failures[0]
    assert failure.rule == "I8"
    assert f"python -m tests.simulation --seed {failure.seed} --trace" in failure.report
    assert f"seed={failure.seed} " in failure.report
    assert "slots" in failure.sentence
