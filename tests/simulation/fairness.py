"""The outside checker of fairness: no repository takes the runners while another's older wish waits and would fit.

What belongs here: who was served before whom. What does not: whether a runner fits a job at all (checkers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from surveil.core.model import Attempt, Job, Status
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.world import World


class Waiting:
    """The jobs that wait for a runner, as the last transaction left them."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def passed_over(self, changed: Iterable[Job]) -> list[Job]:
        """A transaction changed these jobs: return those that waited before it and wait still."""
        come: dict[str, Job] = {}
        for job in changed:
            if job.state != Status.QUEUED or job.not_before_at:
                self._jobs.pop(job.id, None)
            elif job.id in self._jobs:
                self._jobs[job.id] = job
            else:
                come[job.id] = job
        passed_over = list(self._jobs.values())
        self._jobs.update(come)
        return passed_over


class Fairness:
    """Whether a transaction took the repositories in their turn."""

    def __init__(self, world: World) -> None:
        self.world = world

    def committed(self, new: list[Attempt], passed_over: list[Job]) -> None:
        """These attempts were handed out, and those jobs were passed over."""
        if not new or not passed_over:
            return
        checkers = self.world.checkers
        running = Counter(job.repo for job in checkers.jobs.values() if job.state == Status.RUNNING)
        turn = Counter(checkers.jobs[attempt.job].repo for attempt in new)
        for attempt in new:
            served = checkers.jobs[attempt.job].repo
            labels = set(checkers.runners[attempt.runner].labels)
            for job in passed_over:
                # Who was not ahead before this turn may well have been served first, and have taken the one
                # runner that would fit.
                ahead = running[served] - turn[served] - running[job.repo]
                # And what is in a group may wait for that.
                fits = set(job.spec.labels) <= labels and job.repo not in turn and not job.spec.concurrency
                require(not fits or ahead <= 0, "FAIR", f"{attempt.job} was served before {job.id} of {job.repo}")
