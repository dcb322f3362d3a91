"""The planted bugs that the simulator must notice: each takes one rule out of the protocol.

What belongs here: the list. What does not: how they are planted (mutation). docs/simulation.md explains what
noticed each.
"""

from __future__ import annotations

from tests.simulation.mutants_copies import COPIES
from tests.simulation.mutants_dispatch import DISPATCH
from tests.simulation.mutants_hands import HANDS
from tests.simulation.mutants_relations import RELATIONS
from tests.simulation.mutants_run import RUN
from tests.simulation.mutants_secrets import SECRETS
from tests.simulation.mutation import Mutant

MUTANTS: tuple[Mutant, ...] = (*DISPATCH, *RELATIONS, *RUN, *COPIES, *SECRETS, *HANDS)
