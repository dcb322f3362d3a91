"""The queue of jobs that could run now, ordered so that the next one for a free slot is found without looking at
the others.

What belongs here: order within and between repositories. What does not: whether a runner fits (schedule).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, TypeAlias

from surveil.core.deadlines import Deadlines
from surveil.core.model import Job

Group: TypeAlias = tuple[str, tuple[str, ...], str]
"""A repository, a set of labels and a concurrency group: jobs of one group differ only in their turn, so the first
speaks for all.
"""

PRIORITY_MS: Final = 600_000
"""What one step of priority is worth: the job has its turn as if it had been asked for so much earlier. Therefore
nothing waits for ever, however much that is more urgent keeps coming.
"""

Place: TypeAlias = tuple[int, int, int, str]
"""A job's turn: when it was asked for as far as its priority goes, its build, its position there, and its id."""


class ReadyJobs:
    """Queued jobs by group, in their turn; jobs that wait for a back-off to pass stand aside until they are due."""

    __slots__ = ("_groups", "_jobs", "waiting")

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Group, Place, int]] = {}
        self._groups: dict[Group, list[Place]] = {}
        self.waiting: Deadlines[str] = Deadlines()

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Queue a job; one with a `not_before_at` waits aside until `release` finds it due."""
        known = self._jobs.get(job.id)
        if known is not None and known[2] == job.not_before_at:
            return
        group = (job.repo, tuple(sorted(job.spec.labels)), job.spec.concurrency)
        turn_at = job.created_at - job.spec.priority * PRIORITY_MS
        place = (turn_at, job.build, job.position, job.id)
        self._jobs[job.id] = (group, place, job.not_before_at)
        if job.not_before_at:
            self.waiting.set(job.id, job.not_before_at)
        else:
            heappush(self._groups.setdefault(group, []), place)

    def discard(self, job_id: str) -> None:
        """Take a job out; its place in the heap is dropped when it surfaces."""
        if self._jobs.pop(job_id, None) is not None:
            self.waiting.discard(job_id)

    def release(self, now: int) -> None:
        """Let the jobs whose back-off has passed join their group."""
        for job_id in self.waiting.take_due(now):
            group, place, _ = self._jobs[job_id]
            heappush(self._groups.setdefault(group, []), place)

    def heads(self) -> list[tuple[Group, Place]]:
        """The first job of each group, groups in their order of appearance."""
        heads = []
        for group in list(self._groups):
            place = self.head(group)
            if place is None:
                del self._groups[group]
            else:
                heads.append((group, place))
        return heads

    def head(self, group: Group) -> Place | None:
        """The first job of a group, None where it has none any more."""
        heap = self._groups[group]
        while heap:
            place = heap[0]
            known = self._jobs.get(place[-1])
            if known is not None and known[1] == place and place[-1] not in self.waiting:
                return place
            heappop(heap)
        return None
