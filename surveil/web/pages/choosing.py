"""Which jobs of a build a page shows: a build may have thousands of them, and a page has room for few.

What belongs here: pure functions from a build's jobs to those that are shown. What does not: pictures of them
(`pictures`), and how they look (the templates).

Whoever opens a build wants to see what went wrong, and then what runs; all others are a click away, page by page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from surveil.frozen import dataclass
from surveil.web.pages.pictures import Group, groups, urgency

CELLS_SHOWN: Final = 6
"""Of more cells or shards of one job only these are shown, what went wrong first; all have a page of their own."""
JOBS_SHOWN: Final = 40
"""On one page."""
ATTEMPTS_SHOWN: Final = 80
"""On one page, all jobs together; of each at least the newest, and at most `ATTEMPTS_EACH`."""
ATTEMPTS_EACH: Final = 4

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A group, and those of its jobs that are shown."""

    group: Group
    jobs: Sequence[Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is shown of `count` jobs that were asked for; `following` is where the next page begins."""

    parts: Sequence[Part]
    count: int
    following: int | None = None

    @property
    def attempts(self) -> int:
        """How many attempts at each job are shown, the newest."""
        return min(ATTEMPTS_EACH, max(1, ATTEMPTS_SHOWN // max(1, len(self.jobs))))

    @property
    def jobs(self) -> list[Document]:
        """All that are shown."""
        return [job for part in self.parts for job in part.jobs]


def counts(jobs: Sequence[Document]) -> list[tuple[str, int]]:
    """How many jobs there are of each state, what went wrong first."""
    found = Counter(job["state"] for job in jobs)
    return sorted(found.items(), key=lambda each: urgency({"state": each[0]}))


def first(found: Sequence[Group], count: int) -> Choice:
    """Some of each group; where that is too much, what went wrong first, and of what is alike the earlier in the
    file.
    """
    parts = [Part(group=group, jobs=_cells(group)) for group in found]
    shown = sorted((job for part in parts for job in part.jobs), key=urgency)[:JOBS_SHOWN]
    names = {job["name"] for job in shown}
    kept = [Part(group=part.group, jobs=[job for job in part.jobs if job["name"] in names]) for part in parts]
    return Choice(parts=[part for part in kept if part.jobs], count=count)


def page(jobs: Sequence[Document], at: int) -> Choice:
    """Jobs in the order of the file, from number `at` on."""
    shown = jobs[at : at + JOBS_SHOWN]
    following = at + JOBS_SHOWN if at + JOBS_SHOWN < len(jobs) else None
    parts = [Part(group=group, jobs=group.jobs) for group in groups(shown)]
    return Choice(parts=parts, count=len(jobs), following=following)


def _cells(group: Group) -> Sequence[Document]:
    if len(group.jobs) <= CELLS_SHOWN:
        return group.jobs
    return sorted(group.jobs, key=urgency)[:CELLS_SHOWN]
