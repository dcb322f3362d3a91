"""When a schedule comes: cron's five fields in a time zone, to instants in milliseconds since 1970 and back.

What belongs here: reading expressions and zones, the next time and the last one. What does not: what happens then
(`hands.scheduling`), and which schedules there are (`core.timetable`).

Where clocks are set forward, a time that does not exist comes at once after that; where they are set back, one that
exists twice comes once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from surveil.core.spelling import quoted

FIELDS: Final = 5
TEXT_CHARACTERS_MAX: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FOLD_MS: Final = 3 * 3_600_000
"""No clock is set back by more than this."""
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


def check_cron(text: str) -> None:
    """Complain of an expression that is none, or never comes.

    Raises:
        ValueError: with a clause for people.
    """
    example = "write five fields (minute, hour, day, month, weekday) like `30 2 * * *`"
    if len(text) > TEXT_CHARACTERS_MAX or len(text.split()) != FIELDS:
        raise ValueError(f"{quoted(text)} is no schedule: {example}")
    try:
        simulated = CronSim(text, _SOME_DAY)
    except CronSimError as error:
        raise ValueError(f"{quoted(text)} is no schedule ({str(error).lower()}): {example}") from error
    if next(simulated, None) is None:
        raise ValueError(f"{quoted(text)} never comes")


def check_zone(name: str) -> None:
    """Complain of a time zone that nobody knows.

    Raises:
        ValueError: with a clause for people.
    """
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{quoted(name)} is no time zone: write one like `Europe/Berlin` or `UTC`") from error


def next_at(cron: str, timezone: str, now: int) -> int | None:
    """The first time after `now`; None if there is none within fifty years."""
    for found in CronSim(cron, _local(now, timezone)):
        if (at := _instant(found)) > now:
            return at
    return None


def last_at(cron: str, timezone: str, now: int) -> int | None:
    """The last time up to `now` at which the schedule came; None if there was none within fifty years."""
    # Backwards the library finds times in an hour that exists twice which it does not find forwards: those count that
    # it finds forwards, from well before.
    backwards = map(_instant, CronSim(cron, _local(now, timezone) + timedelta(minutes=1), reverse=True))
    back = next((at for at in backwards if at <= now), None)
    if back is None:
        return None
    last, at = None, next_at(cron, timezone, back - _FOLD_MS)
    while at is not None and at <= now:
        last, at = at, next_at(cron, timezone, at)
    return last


def _instant(found: datetime) -> int:
    return (found - _EPOCH) // timedelta(milliseconds=1)


def _local(at: int, timezone: str) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at)).astimezone(_zone(timezone))


@lru_cache(maxsize=128)
def _zone(name: str) -> tzinfo:
    if len(name) > TEXT_CHARACTERS_MAX:
        raise ValueError(name)
    return ZoneInfo(name)
