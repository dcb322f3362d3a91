"""How much of builds one answer carries: about as many bytes of documents as a message has room for.

What belongs here: the guess of a document's size, and how many builds fit. What does not: the documents (`views`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from surveil.core.model import Attempt
from surveil.store import BuildDetail

PAGE_COST_MAX: Final = 400_000
"""About how many bytes of documents one answer carries; far enough below a message's limit for the guess to be rough.
"""


def cost_of(reason: str, attempts: Sequence[Attempt]) -> int:
    """About how many bytes a job's document takes; a step is 150 bytes and its name, an attempt 400 and its reason."""
    steps = sum(150 + 2 * len(step.name) for attempt in attempts for step in attempt.steps)
    return 600 + 2 * len(reason) + steps + sum(400 + 2 * len(attempt.reason) for attempt in attempts)


def whole_cost(detail: BuildDetail) -> int:
    """About how many bytes the document of a whole build takes."""
    by_job: dict[str, list[Attempt]] = {}
    for attempt in detail.attempts:
        by_job.setdefault(attempt.job, []).append(attempt)
    cost = 2000 + 2 * sum(map(len, (detail.build.message, detail.build.reason, *detail.build.complaints)))
    return cost + sum(cost_of(job.reason, by_job.get(job.id, [])) for job in detail.jobs)


def fitting(costs: Iterable[int]) -> Iterator[int]:
    """Of builds of these costs, from the first on, what each may cost, as long as the page has room; never none of
    them.
    """
    left = PAGE_COST_MAX
    for cost in costs:
        if left < PAGE_COST_MAX and cost > left:
            return
        yield left
        left -= cost


def shares(details: Sequence[BuildDetail]) -> Iterator[tuple[BuildDetail, int]]:
    """Builds from the first on that fit, each with what it may cost."""
    return zip(details, fitting(map(whole_cost, details)), strict=False)
