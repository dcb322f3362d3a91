"""Seeds that found something once are played for ever."""

from pathlib import Path

import pytest

from tests.simulation.options import draw
from tests.simulation.swarm import Failure, live

LINES = (Path(__file__).parent / "found" / "seeds.txt").read_text().splitlines()
SEEDS = [int(line.split()[0]) for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("found", SEEDS)
def test_what_was_found_once_is_not_found_again(found: int) -> None:
    outcome = live(draw(found))
    assert not isinstance(outcome, Failure), outcome.report
