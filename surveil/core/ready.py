"""The queue of jobs that could run now, ordered so that the next one for a free slot is found without looking at
the others.

What belongs here: order within and between repositories. What does not: whether a runner fits (schedule).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TypeAlias

from surveil.core.deadlines import Deadlines
from surveil.core.model import Job

Group: TypeAlias = tuple[str, tuple[str, ...]]
"""A repository and a set of labels: jobs of one group differ only in age, so the oldest speaks for all."""

_Place: TypeAlias = tuple[int, int, str]


class ReadyJobs:
    """Queued jobs by group, oldest first; jobs that wait for a back-off to pass stand aside until they are due."""

    __slots__ = ("_groups", "_jobs", "waiting")

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Group, _Place, int]] = {}
        self._groups: dict[Group, list[_Place]] = {}
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
        group = (job.repo, tuple(sorted(job.spec.labels)))
        place = (job.build, job.position, job.id)
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

    def heads(self) -> list[tuple[Group, _Place]]:
        """The oldest job of each group, groups in their order of appearance."""
        heads = []
        for group in list(self._groups):
            place = self._head(group)
            if place is None:
                del self._groups[group]
            else:
                heads.append((group, place))
        return heads

    def _head(self, group: Group) -> _Place | None:
        heap = self._groups[group]
        while heap:
            place = heap[0]
            known = self._jobs.get(place[2])
            if known is not None and known[1] == place and place[2] not in self.waiting:
                return place
            heappop(heap)
        return None
