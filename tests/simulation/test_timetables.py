"""Schedules in worlds of hours: none is missed for good, none comes twice, and each planted bug is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants_timetables import TIMETABLES
from tests.simulation.mutation import Mutant, planted
from tests.simulation.table import rows
from tests.simulation.timetables import Hours
from tests.simulation.violation import ViolationError

SEEDS = (0, 1, 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_world_of_hours_keeps_what_schedules_promise(seed: int) -> None:
    world = Hours(seed)
    world.live()
    assert world.built, "nothing was due"


@pytest.mark.parametrize("mutant", TIMETABLES, ids=lambda mutant: mutant.name)
def test_a_bug_that_is_planted_into_schedules_breaks_the_promise_that_it_is_named_for(mutant: Mutant) -> None:
    (seed,) = mutant.seeds
    with planted(mutant), pytest.raises(ViolationError) as noticed:
        Hours(seed).live()
    assert noticed.value.rule == mutant.rule


def test_the_documents_keep_the_table_of_bugs_that_are_planted_into_schedules() -> None:
    document = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    assert "\n".join(rows(TIMETABLES)) in document
