"""What a campaign is like, drawn from its seed.

What belongs here: every number that may differ between two campaigns. What does not: what follows from them.
"""

import random
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from surveil.core.policy import Policy
from surveil.core.spelling import format_duration

QUICK: Final = {
    "heartbeat_ms": 1_000,
    "lease_ms": 4_000,
    "margin_ms": 500,
    "restart_grace_ms": 8_000,
}
"""A policy under which 1 000 faults take hours and not a day; the times that it waits in vain are about half
of what is usual."""
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One campaign's options. `weights` are how often each kind is drawn, beside the others."""

    seed: int
    faults: int
    usual: bool = False
    """Whether it lives by the usual policy."""
    runners: int = 4
    observers: int = 2
    slots: int = 2
    repositories: tuple[str, ...] = ("alpha", "beta", "gamma")
    pushes: int = 3
    """Commits of each round, at most."""
    lasting_s: float = 6.0
    """How long a long job lasts, at most."""
    pairs: float = 0.1
    """How often a second fault overlaps the first."""
    pause_s: float = 1.0
    """At most so long something runs before it is struck."""
    weights: dict[str, float] = field(default_factory=dict)
    step_python: str = ""

    @property
    def policy(self) -> Policy:
        """The numbers that the dispatcher lives by."""
        return Policy() if self.usual else Policy(**QUICK)

    def policy_variables(self) -> dict[str, str]:
        """The policy, as an environment says it."""
        changed = {} if self.usual else QUICK
        return {f"SURVEIL_POLICY_{n.removesuffix('_ms').upper()}": format_duration(ms) for n, ms in changed.items()}

    def expanded(self) -> dict[str, Any]:
        """Everything, for a report."""
        return asdict(self)


def draw(seed: int, faults: int, kinds: dict[str, float], *, usual: bool = False, each: bool = False) -> Settings:
    """The campaign of a seed. Every seed has its own favourites among the kinds, as swarms have; where `each` is struck
    once, jobs are short.
    """
    dice = random.Random(f"settings {seed}")
    python = _SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else Path(sys.executable).resolve()
    return Settings(
        seed=seed,
        faults=faults,
        usual=usual,
        slots=dice.choice([1, 2, 2, 3]),
        pushes=dice.choice([2, 3, 4]),
        lasting_s=3.0 if each else dice.choice([3.0, 6.0]),
        pairs=dice.choice([0.0, 0.1, 0.25]),
        pause_s=dice.choice([0.2, 1.0, 2.0]),
        weights={name: weight * dice.choice([0.25, 1.0, 1.0, 4.0]) for name, weight in sorted(kinds.items())},
        step_python=str(python),
    )
