"""When schedules come: forwards, backwards, and where clocks are set."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest

from surveil.pipeline.cron import check_cron, check_zone, last_at, next_at

DAY_MS = 86_400_000
MINUTE_MS = 60_000


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def shown(instant: int, zone: str) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")


def coming(cron: str, zone: str, since: int, until: int) -> list[int]:
    found: list[int] = []
    here = next_at(cron, zone, since)
    while here is not None and here <= until:
        found.append(here)
        here = next_at(cron, zone, here)
    return found


def test_an_hour_that_exists_twice_or_never_brings_a_daily_schedule_once() -> None:
    berlin = "Europe/Berlin"
    autumn = coming("30 2 * * *", berlin, at("2026-10-24 12:00"), at("2026-10-26 12:00"))
    assert [shown(each, berlin) for each in autumn] == ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]
    spring = coming("30 2 * * *", berlin, at("2026-03-28 12:00"), at("2026-03-30 12:00"))
    assert [shown(each, berlin) for each in spring] == ["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"]


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("30 2 * * *", "Europe/Berlin"),
        ("*/7 1-3 * * *", "Europe/Berlin"),
        ("*/30 * * * *", "America/New_York"),
        ("30 1 * * *", "Australia/Lord_Howe"),
        ("15 */5 * * 1", "UTC"),
    ],
)
def test_the_last_time_is_the_newest_of_those_that_came(cron: str, zone: str) -> None:
    dice = Random(7)
    # In these weeks clocks are set in each of these places.
    for begin in ("2026-03-05", "2026-03-25", "2026-10-01", "2026-10-22", "2026-10-30"):
        start = at(begin)
        times = coming(cron, zone, start - 14 * DAY_MS, start + 8 * DAY_MS)
        near = [each + shift for each in times[1:][-20:] for shift in (-1, 0, 1, MINUTE_MS - 1)]
        for now in (*near, *(dice.randrange(start, start + 7 * DAY_MS) for _ in range(60))):
            assert last_at(cron, zone, now) == times[bisect_right(times, now) - 1], shown(now, zone)


@pytest.mark.parametrize(
    ("cron", "clause"),
    [
        ("30 2 * *", "is no schedule: write five fields"),
        ("* * * * * *", "is no schedule: write five fields"),
        ("@daily", "is no schedule: write five fields"),
        ("61 * * * *", r"is no schedule \(bad minute\)"),
        ("0 0 30 2 *", "is no schedule"),
        ("0 0 * * mon#7", "is no schedule"),
        ("*" * 300, "is no schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(cron: str, clause: str) -> None:
    with pytest.raises(ValueError, match=clause):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["Mars", "Europe", "", "../etc/passwd", "/etc/localtime", "x" * 300, "a\0b"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is no time zone: write one like `Europe/Berlin` or `UTC`"):
        check_zone(zone)


def test_ordinary_ones_are_taken() -> None:
    for cron in ("30 2 * * *", "*/5 * * * *", "0 9-17/2 * * mon-fri", "0 0 29 2 *", "0 0 L * *"):
        check_cron(cron)
    for zone in ("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"):
        check_zone(zone)
