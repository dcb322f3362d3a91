"""What a finished build means for its ref: whether something broke, was mended, or is as it was.

What belongs here: pure functions over how the builds of one ref ended. What does not: who wants to know
(`surveil.notify.wanting`), and what they are told.

A build is compared with the builds of its repository and ref that were over when it was. So an answer is the same
whenever it is asked for, and a build that ends after a newer one says nothing: its ref has moved on.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from surveil.core.model import Status
from surveil.core.states import WRONG
from surveil.frozen import dataclass

_TELLING: Final = WRONG | {Status.PASSED}
"""What was cancelled or skipped says nothing about a ref."""


class News(StrEnum):
    """What people are told."""

    BROKEN = "broken"
    STILL_FAILING = "still failing"
    FIXED = "fixed"
    PASSED = "passed"
    """As the build before it did, or as the first one of its ref."""
    RUNNER_LOST = "runner lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """As much of a finished build as tells how its ref stands."""

    id: int
    state: Status
    finished_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a build changed. `after` is the last build before it that says anything, None for the first of a ref;
    `broken_by` is the first of those in a row that went wrong, up to this one, or to the one before where this passed.
    """

    news: News
    after: int | None
    broken_by: int | None


def turn_of(build: Ended, others: Iterable[Ended]) -> Turn | None:
    """What `build` means beside the `others` of its ref; None where it means nothing."""
    if build.state not in _TELLING:
        return None
    over = [
        other for other in others
        if other.id != build.id and other.state in _TELLING
        and (other.finished_at, other.id) < (build.finished_at, build.id)
    ]  # fmt: skip
    if any(other.id > build.id for other in over):
        return None
    over.sort(key=lambda other: other.id, reverse=True)
    broken_by = None
    for other in over:
        if other.state not in WRONG:
            break
        broken_by = other.id
    after = over[0].id if over else None
    if build.state in WRONG:
        news = News.BROKEN if broken_by is None else News.STILL_FAILING
        return Turn(news=news, after=after, broken_by=build.id if broken_by is None else broken_by)
    return Turn(news=News.PASSED if broken_by is None else News.FIXED, after=after, broken_by=broken_by)
