"""A collector that keeps the test results of jobs that run here and now: in memory, for who typed the command.

What belongs here: how much of them is kept. What does not: reading them (`cases`), and showing them (`surveil.cli`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from surveil.core.states import WRONG
from surveil.execute.collect.cases import any_reports, results
from surveil.execute.collect.collecting import Collection, Work
from surveil.protocol import Case, Tally

WRONG_MAX: Final = 1_000
SLOWEST_MAX: Final = 10


@dataclass(slots=True)
class Results:
    """What the reports of one job say: their tally, those of its tests that went wrong, and the slowest."""

    job: str
    attempt: int
    tally: Tally
    wrong: list[Case]
    slowest: list[Case]


@dataclass(slots=True)
class ResultsHere:
    """Keeps the promise of a collector. `by_job` has the newest results of each."""

    by_job: dict[str, Results] = field(default_factory=dict)

    def __call__(self, work: Work, /) -> Collection:
        """Read the reports."""
        name = work.assign.spec.name
        self.by_job.pop(name, None)
        if not work.assign.spec.reports or not any_reports(work):
            return Collection()
        wrong: list[Case] = []
        slowest: list[Case] = []
        for part in results(work):
            if not isinstance(part, Tally):
                wrong = [*wrong, *(case for case in part if case.state in WRONG)][:WRONG_MAX]
                slowest = sorted([*slowest, *part], key=lambda case: -case.duration_ms)[:SLOWEST_MAX]
            elif part.passed or part.failed or part.errored or part.skipped or part.problems:
                self.by_job[name] = Results(name, work.assign.attempt, part, wrong, slowest)
        return Collection()
