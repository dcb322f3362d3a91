"""The outbox's mind: what of all that is to be told is told next, what takes whose place, and when to try again.

What belongs here: pure functions over parcels. What does not: the journal that they follow from (`surveil.notify`),
where they are kept (`surveil.store.outbox`), and how one is delivered.

A target is told one thing at a time. Of one subject things are told in order, and one that is refused holds back what
comes after it; other subjects go past. A target that is away is tried less and less often, whatever is to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from surveil.frozen import dataclass, replace

FIRST_MS: Final = 5_000
"""How long after the first failure it is tried again; then twice as long each time."""
MOST_MS: Final = 3_600_000
AGAIN_MS_MAX: Final = 24 * 3_600_000
"""A target may ask for so much patience, and not for more."""
LIFE_MS: Final = 3 * 24 * 3_600_000
"""What is older helps nobody any more, and is given up."""
REFUSALS_MAX: Final = 10
"""Something that was refused so often, over 40 minutes, is given up; what it waited for did not come."""
_DOUBLINGS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Something to be told, before it has a place in a queue.

    `slot` is what it is about: something newer in the same slot takes its place. Of two in a slot the one of lower
    `rank` is old news, whenever it comes. Without `news` it is told only to who was told of this slot before.
    """

    subject: str
    slot: str
    body: str
    made_at: int
    rank: int = 0
    news: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Something that waits to be told, in the order of ids. `refusals` is how often it was refused."""

    id: int
    subject: str
    slot: str
    body: str
    made_at: int
    rank: int = 0
    refusals: int = 0
    due_at: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What a slot was last given: the id of a parcel that still waits, or None where it was told."""

    waiting: int | None
    rank: int
    body: str


class Fate(StrEnum):
    """What became of an attempt to tell something."""

    DELIVERED = "delivered"
    UNAVAILABLE = "unavailable"
    """The target is away, overloaded or does not let us in: nothing else would do better."""
    REFUSED = "refused"
    """The target minds this one, perhaps not for ever."""
    HOPELESS = "hopeless"
    """The target will never take this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went, with a sentence for people. `again_ms` is the patience that the target asks for, in any case."""

    fate: Fate
    reason: str = ""
    again_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """All that waits for one target. `failures` is how often in a row it was unavailable."""

    waiting: Mapping[int, Parcel]
    failures: int = 0
    not_before_at: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What is to be put into a queue, and the ids of those whose place is taken."""

    drafts: tuple[Draft, ...]
    superseded: tuple[int, ...]


def admit(latest: Mapping[str, Latest], drafts: Iterable[Draft]) -> Admitted:
    """Which of these are still to be told, by what is known of their slots."""
    known = dict(latest)
    superseded: list[int] = []
    fresh: dict[str, Draft] = {}
    for draft in drafts:
        before = known.get(draft.slot)
        if before is None and not draft.news:
            continue
        if before is not None:
            if (draft.rank, draft.body) == (before.rank, before.body) or draft.rank < before.rank:
                continue
            if before.waiting is not None:
                superseded.append(before.waiting)
        known[draft.slot] = Latest(waiting=None, rank=draft.rank, body=draft.body)
        # It stands where it would have come: behind what came meanwhile.
        fresh.pop(draft.slot, None)
        fresh[draft.slot] = draft
    return Admitted(drafts=tuple(fresh.values()), superseded=tuple(superseded))


def next_parcel(queue: Queue, now: int) -> Parcel | None:
    """What is to be told now: what nothing of its subject stands before, and first what was not tried yet."""
    if _lies_ahead(queue.not_before_at, now):
        return None
    due = (parcel for parcel in _heads(queue) if not _lies_ahead(parcel.due_at, now))
    return min(due, key=lambda parcel: (parcel.due_at, parcel.id), default=None)


def wake_at(queue: Queue) -> int | None:
    """When there will be something to tell; None if nothing waits."""
    return min((max(parcel.due_at, queue.not_before_at) for parcel in _heads(queue)), default=None)


def settled(queue: Queue, parcel: Parcel, outcome: Outcome, now: int) -> tuple[Queue, Parcel | None]:
    """The queue after an attempt to tell `parcel`, and what becomes of that: None where it waits no more."""
    again_ms = min(max(0, outcome.again_ms), AGAIN_MS_MAX)
    minded = outcome.fate is Fate.REFUSED
    if outcome.fate is Fate.UNAVAILABLE:
        wait_ms = max(again_ms, _backoff_ms(queue.failures))
        # A target that took something just before, and does not say that it is busy, may mind this one only.
        minded = queue.failures == 0 and not again_ms
        queue = replace(queue, failures=queue.failures + 1, not_before_at=now + wait_ms, problem=outcome.reason)
    else:
        queue = replace(queue, failures=0, not_before_at=now + again_ms, problem="")
    left: Parcel | None = None
    if outcome.fate in {Fate.UNAVAILABLE, Fate.REFUSED}:
        refusals = parcel.refusals + minded
        # Whatever else waits is tried before it.
        due_at = max(queue.not_before_at, now + _backoff_ms(refusals - 1)) if minded else queue.not_before_at
        left = replace(parcel, refusals=refusals, due_at=due_at, problem=outcome.reason)
        if refusals >= REFUSALS_MAX or now - parcel.made_at >= LIFE_MS:
            left = None
    others = {number: other for number, other in queue.waiting.items() if number != parcel.id}
    waiting = others if left is None else {**others, parcel.id: left}
    return replace(queue, waiting=waiting), left


def _heads(queue: Queue) -> Iterable[Parcel]:
    """The first of each subject, in the order in which they came."""
    heads: dict[str, Parcel] = {}
    for number in sorted(queue.waiting):
        heads.setdefault(queue.waiting[number].subject, queue.waiting[number])
    return heads.values()


def _lies_ahead(instant: int, now: int) -> bool:
    """Whether it is still waited for this instant. Nothing waits for more than a day: what lies farther ahead was
    written while the clock was wrong.
    """
    return now < instant <= now + AGAIN_MS_MAX


def _backoff_ms(times: int) -> int:
    return min(FIRST_MS << min(times, _DOUBLINGS_MAX), MOST_MS)
