"""What is to be done so that the wanted processes are there, and no others. Pure, and level-triggered.

What belongs here: comparing what is wanted with what is present, and saying what to start, what to stop, when to
look again. What does not: starting and stopping (`supervise`).

Nothing is remembered but the members' own records, so a lost call heals by itself: the next look says the same again.
Times are integers of milliseconds from any clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from surveil.frozen import dataclass, replace

BACK_OFF_MS_MIN: Final = 200
BACK_OFF_MS_MAX: Final = 30_000
HEALTHY_MS: Final = 60_000
"""Whoever ran so long before it died is started again at once, as if it had never failed before."""


class Phase(StrEnum):
    """Where a member is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process that is or was there. `failures` counts the ends since it last was healthy; a member that has
    `given_up` is not started again.
    """

    name: str
    phase: Phase
    since: int
    failures: int = 0
    given_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, in order, and when to look again if nothing happens before (None: not at all)."""

    start: tuple[str, ...]
    stop: tuple[str, ...]
    forget: tuple[str, ...]
    wake_at: int | None


def reconcile(wanted: Sequence[str], present: Mapping[str, Member], now: int) -> Plan:
    """Compare what is wanted with what is present.

    A wanted name that has no member is started at once, one that ended when its back-off is over. A member that is not
    wanted is stopped, and forgotten once it has ended. What starts or stops already is waited for.
    """
    ended = [present[name] for name in wanted if name in present and present[name].phase is Phase.ENDED]
    waiting = {member.name: start_at(member) for member in ended if not member.given_up}
    unwanted = [member for name, member in present.items() if name not in set(wanted)]
    return Plan(
        start=tuple(name for name in wanted if name not in present or waiting.get(name, now + 1) <= now),
        stop=tuple(member.name for member in unwanted if member.phase in {Phase.STARTING, Phase.RUNNING}),
        forget=tuple(member.name for member in unwanted if member.phase is Phase.ENDED),
        wake_at=_earliest(at for at in waiting.values() if at > now),
    )


def ended(member: Member, now: int) -> Member:
    """The member after its process ended without having been asked to."""
    healthy = member.phase is Phase.RUNNING and now - member.since >= HEALTHY_MS
    return replace(member, phase=Phase.ENDED, since=now, failures=1 if healthy else member.failures + 1)


def start_at(member: Member) -> int:
    """When a member that ended may be started again."""
    return member.since + back_off_ms(member.failures)


def back_off_ms(failures: int) -> int:
    """How long to wait after so many failures in a row: 0.2 s, doubled by each one more, at most 30 s."""
    if failures <= 0:
        return 0
    # The shift is bounded first: a member may fail for months.
    return min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN << min(failures - 1, 16))


def _earliest(instants: Iterable[int]) -> int | None:
    return min(instants, default=None)
