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


class Fairness:
    """What waits, as the last transaction left it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._waiting: dict[str, Job] = {}

    def committed(self, new: Iterable[Attempt]) -> None:
        """These attempts were handed out; whoever waited before and waits still was passed over."""
        checkers = self.world.checkers
        waiting = {
            job.id: job for job in checkers.jobs.values() if job.state == Status.QUEUED and not job.not_before_at
        }
        passed_over = [job for job in waiting.values() if job.id in self._waiting]
        self._waiting = waiting
        if not passed_over:
            return
        running = Counter(job.repo for job in checkers.jobs.values() if job.state == Status.RUNNING)
        newly = list(new)
        turn = Counter(checkers.jobs[attempt.job].repo for attempt in newly)
        for attempt in newly:
            served = checkers.jobs[attempt.job].repo
            labels = set(checkers.runners[attempt.runner].labels)
            for job in passed_over:
                # Who was not ahead before this turn may well have been served first, and have taken the one
                # runner that would fit.
                ahead = running[served] - turn[served] - running[job.repo]
                # And what is in a group may wait for that.
                fits = set(job.spec.labels) <= labels and job.repo not in turn and not job.spec.concurrency
                require(not fits or ahead <= 0, "FAIR", f"{attempt.job} was served before {job.id} of {job.repo}")
