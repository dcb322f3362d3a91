"""Every planted bug is noticed by some world, or argued harmless in writing and noticed by a directed test
(test_argued).
"""

from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import Mutant, StaleMutantError, planted
from tests.simulation.options import draw
from tests.simulation.swarm import Failure, live
from tests.simulation.table import rows

SWEEP = 200
"""Where none of the known worlds notices any more, because the code or the worlds have changed, so many others may."""

NOTICED = [mutant for mutant in MUTANTS if not mutant.argued]


@pytest.mark.timeout(300)  # The whole sweep, on a busy machine.
@pytest.mark.parametrize("mutant", NOTICED, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_noticed(mutant: Mutant) -> None:
    tried = list(dict.fromkeys((*mutant.seeds, *range(SWEEP))))
    with planted(mutant):
        noticed = any(isinstance(live(draw(seed)), Failure) for seed in tried)
    assert noticed, f"{mutant.name!r} ({mutant.sentence}) went unnoticed in {len(tried)} worlds"


def test_there_are_enough_bugs_and_none_has_the_name_of_another() -> None:
    assert len(NOTICED) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_bug_is_taken_out_again() -> None:
    mutant = NOTICED[0]
    with planted(mutant):
        pass
    with planted(mutant):  # Its fragment is there once more.
        pass


def test_a_bug_whose_place_has_changed_is_reported() -> None:
    gone = Mutant(name="gone", sentence="", place=MUTANTS[0].place, old="no such code", new="")
    with pytest.raises(StaleMutantError, match="0 times"), planted(gone):
        pass


def test_the_documents_keep_the_table_of_planted_bugs() -> None:
    document = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    table = "\n".join(rows(MUTANTS))
    assert table in document, "the table has changed: paste the output of 'python -m tests.simulation.table'"
