"""How often runners introduced themselves in this second: all together, and each of them.

What belongs here: the two bounds on that. What does not: what whoever is beyond them is told (pool).

A runner that says `Hello` again and again is counted for itself alone, so that it keeps no other one out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from surveil.core.policy import Policy


@dataclass(slots=True)
class Introductions:
    """The counts of one second."""

    second: int = 0
    together: int = 0
    """Without those that came too often."""
    each: dict[str, int] = field(default_factory=dict)

    def is_one_too_many(self, runner: str, now: int, policy: Policy) -> bool:
        """Count a `Hello`, and say whether its runner has to come back in a while."""
        if self.second != now // 1000:
            self.second, self.together, self.each = now // 1000, 0, {}
        self.each[runner] = self.each.get(runner, 0) + 1
        if self.came_too_often(runner, policy):
            return True
        self.together += 1
        return self.together > policy.hellos_per_second

    def came_too_often(self, runner: str, policy: Policy) -> bool:
        """Whether this runner alone is beyond its bound."""
        return self.each.get(runner, 0) > policy.hellos_per_runner
