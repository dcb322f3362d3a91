"""The documents of whole builds, and parts of them that fit a message.

What belongs here: putting the document of a build together. What does not: the shapes (`views`), which builds somebody
asks for (`outlook`), and what is remembered of documents (`surveil.web.ready`).
"""

from __future__ import annotations

import sys
from typing import Any

from surveil.answer import ReadInThread
from surveil.answer.cases import CaseAnswers
from surveil.answer.portions import cost_of
from surveil.answer.views import Facts, build_view, job_view
from surveil.core.model import VERDICTS, Attempt
from surveil.store import BuildDetail, Reader


class Whole:
    """Makes documents of builds; `facts` are those of logs. All but `read` are to be called in a thread."""

    def __init__(self, reader: Reader, read: ReadInThread, facts: Facts, cases: CaseAnswers) -> None:
        self.reader = reader
        self.read = read
        self._facts = facts
        self._cases = cases

    def document(
        self, detail: BuildDetail, *, jobs_at: int = 0, cost_max: int = sys.maxsize, logs: bool = True, tests: bool
    ) -> dict[str, Any]:
        """A build with its jobs from number `jobs_at` on, as many as `cost_max` has room for; `jobs_next` says where
        the next part begins. With what their `tests` came to, or without; and without a look at their `logs`, each of
        which is files on the disk, where nobody wants to know of them.
        """
        attempts: dict[str, list[Attempt]] = {}
        for attempt in detail.attempts:
            attempts.setdefault(attempt.job, []).append(attempt)
        jobs: list[dict[str, Any]] = []
        cost = 0
        for job in detail.jobs[jobs_at:]:
            tried = attempts.get(job.id, [])
            cost += cost_of(job.reason, tried) + 40 * len(job.spec.needs)
            if jobs and cost > cost_max:
                break
            jobs.append(job_view(job, tried, self._facts if logs else None))
        view = build_view(detail.build, jobs)
        if jobs_at + len(jobs) < len(detail.jobs):
            view["jobs_next"] = jobs_at + len(jobs)
        if tests:
            tested = self._cases.of_jobs(detail)
            for each in jobs:
                each["tests"] = tested.get(each["id"])
        return view


def is_settled(detail: BuildDetail, document: dict[str, Any]) -> bool:
    """Whether the document of a whole build changes only where what is stored of the build does: its logs are whole,
    so that nothing comes to their files any more, and nothing in it is told of by others or by the clock.
    """
    return (
        detail.build.state in VERDICTS
        and not any(job.spec.shards for job in detail.jobs)
        and all(attempt["log_complete"] is True for job in document["jobs"] for attempt in job["attempts"])
    )
