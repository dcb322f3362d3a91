"""`python -m tests.simulation.table`: prints the table of planted bugs that docs/simulation.md keeps.

What belongs here: the table's form. What does not: the bugs (mutants).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import Mutant


def rows(mutants: Iterable[Mutant]) -> Iterable[str]:
    yield "| planted bug | what it does | noticed |"
    yield "|---|---|---|"
    for mutant in mutants:
        if mutant.argued:
            noticed = f"argued: {mutant.argued}; directed test in `tests/simulation/test_argued.py`"
        else:
            noticed = f"{mutant.rule}, seed {mutant.seeds[0]}" if mutant.seeds else "within the sweep"
        yield f"| {mutant.name} | {mutant.sentence} | {noticed} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows(MUTANTS)) + "\n")
