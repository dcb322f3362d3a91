"""The shapes of pipelines that a campaign pushes.

What belongs here: pipelines, as documents. What does not: when which is pushed (workload).
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

Pipeline: TypeAlias = dict[str, Any]
Plan: TypeAlias = dict[str, Any]
KIB: Final = 1024


class Shaper:
    """Makes pipelines whose steps are run by `python`, tell the truth at an address, and last for up to so long."""

    def __init__(self, python: str, truth: str, lasting_s: float) -> None:
        self._python = python
        self._truth = truth
        self._lasting_s = lasting_s

    def pipeline(self, **jobs: dict[str, Any]) -> Pipeline:
        """A document with these jobs."""
        return {"version": 1, "jobs": jobs}

    def job(self, *plans: Plan, **more: Any) -> dict[str, Any]:
        """A job of these steps, and whatever else its document says; `continue_on_error` may be in a plan."""
        steps = []
        for step, plan in enumerate(plans):
            told = {"step": step, **{key: value for key, value in plan.items() if key != "continue_on_error"}}
            document = {"run": f"exec {self._python} -ISs step.py '{json.dumps(told)}'"}
            steps.append(document | {key: plan[key] for key in ("continue_on_error",) if key in plan})
        return {"env": {"TRUTH": self._truth}, "timeout": "2m", "steps": steps, **more}

    def slow(self, dice: Random) -> Pipeline:
        """One job that runs for some seconds and speaks meanwhile."""
        return self.pipeline(slow=self.job(_lasting(dice, self._lasting_s)))

    def quick(self, dice: Random) -> Pipeline:
        """One job that is over at once."""
        return self.pipeline(quick=self.job(plan(["text", dice.randrange(2_000), 0.0])))

    def failing(self, dice: Random) -> Pipeline:
        """A job that fails in its second step, and never comes to its third."""
        bad = plan(["crlf", 500, 0.3], exits=[dice.randrange(1, 120)])
        return self.pipeline(failing=self.job(plan(["text", 100, 0.1]), bad, plan(["text", 9, 0.0])))

    def forgiven(self, dice: Random) -> Pipeline:
        """A job that goes on after a step that failed."""
        bad = plan(["text", 300, 0.2], exits=[7]) | {"continue_on_error": True}
        return self.pipeline(forgiven=self.job(bad, _lasting(dice, 2.0)))

    def graph(self, dice: Random) -> Pipeline:
        """Jobs that need each other, one of them always."""
        exits = dice.choice([[0], [0], [4]])
        return self.pipeline(
            build=self.job(plan(["text", 800, 0.5])),
            test=self.job(_lasting(dice, 3.0, exits=exits), needs=["build"]),
            lint=self.job(plan(["text", 200, 0.2]), needs=["build"]),
            ship=self.job(plan(["text", 50, 0.1]), needs=["test", "lint"]),
            tell=self.job(plan(["text", 50, 0.0]), needs=["test", "lint"], when="always"),
        )

    def matrix(self, dice: Random) -> Pipeline:
        """One job in several cells."""
        return self.pipeline(cells=self.job(_lasting(dice, 2.5), matrix={"cell": ["a", "b", "c"]}))

    def again(self, dice: Random) -> Pipeline:
        """A job that fails at first and passes when it is tried again."""
        return self.pipeline(again=self.job(_lasting(dice, 1.0, exits=[5, 0]), retry=2))

    def careful(self, dice: Random) -> Pipeline:
        """A job that must not run twice."""
        return self.pipeline(
            careful=self.job(_lasting(dice, self._lasting_s), on_runner_loss=dice.choice(["fail", "hold"]))
        )

    def loud(self, dice: Random) -> Pipeline:
        """Output that is large, binary, without line ends, or without an end."""
        writes = [["text", 900 * KIB, 0.2], ["binary", 300 * KIB, 0.3], ["line", 400 * KIB, 0.3], ["line", 77, 0.5]]
        dice.shuffle(writes)
        return self.pipeline(loud=self.job(plan(*writes)))

    def heavy(self, dice: Random) -> Pipeline:
        """A job that only some runners may have."""
        return self.pipeline(heavy=self.job(_lasting(dice, 3.0), labels=["heavy"]))

    def unwanted(self, _: Random) -> Pipeline:
        """A job that somebody cancels as soon as it runs."""
        return self.pipeline(unwanted=self.job(plan(["text", 200, 0.0], ["text", 200, 90.0])))


def plan(*writes: list[Any], exits: list[int] | None = None) -> Plan:
    """What one step does; see `step.py`."""
    return {"writes": list(writes), "exits": exits or [0]}


def _lasting(dice: Random, most_s: float, exits: list[int] | None = None) -> Plan:
    seconds = dice.uniform(most_s / 2, most_s)
    return plan(*(["text", dice.randrange(20, 4_000), round(seconds / 8, 2)] for _ in range(8)), exits=exits)


SHAPES: Final[dict[str, tuple[Callable[[Shaper, Random], Pipeline], int]]] = {
    "slow": (Shaper.slow, 5),
    "quick": (Shaper.quick, 1),
    "failing": (Shaper.failing, 1),
    "forgiven": (Shaper.forgiven, 1),
    "graph": (Shaper.graph, 2),
    "matrix": (Shaper.matrix, 2),
    "again": (Shaper.again, 1),
    "careful": (Shaper.careful, 2),
    "loud": (Shaper.loud, 2),
    "heavy": (Shaper.heavy, 1),
    "unwanted": (Shaper.unwanted, 1),
}
"""Each shape, and how often it is drawn beside the others."""
