"""What follows for a timetable from the commits of a main branch."""

from __future__ import annotations

from surveil.core.timetable import Entry, Timetable, fact_of, following, is_owed
from surveil.core.triggers import Schedule
from surveil.frozen import replace
from surveil.protocol import CommitSeen

COMMIT = CommitSeen(
    mid="push:r:refs/heads/main:a", repo="r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="",
    pipeline="jobs: {}", pipeline_file=".surveil.yml", base="refs/heads/main", paths=("a",),
)  # fmt: skip
NEWER = replace(COMMIT, sha="b" * 40)
NIGHTLY, HOURLY = Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), Schedule(cron="0 * * * *")


def entry(schedule: Schedule, since_at: int) -> Entry:
    return Entry(cron=schedule.cron, timezone=schedule.timezone, since_at=since_at)


def test_a_schedule_counts_from_when_it_was_first_seen_whatever_is_pushed_later() -> None:
    table = following(None, COMMIT, (NIGHTLY,), 100)
    assert table == Timetable(repo="r", commit=COMMIT, entries=(entry(NIGHTLY, 100),))
    again = following(table, NEWER, (HOURLY, NIGHTLY, HOURLY), 200)
    assert again == Timetable(repo="r", commit=NEWER, entries=(entry(HOURLY, 200), entry(NIGHTLY, 100)))
    assert following(again, NEWER, (HOURLY,), 300) == replace(again, entries=(entry(HOURLY, 200),))


def test_without_schedules_there_is_no_timetable() -> None:
    assert following(None, COMMIT, (), 100) is None
    assert following(following(None, COMMIT, (NIGHTLY,), 100), NEWER, (), 200) is None


def test_a_broken_file_keeps_the_schedules_so_that_their_builds_say_what_is_wrong() -> None:
    assert following(None, COMMIT, None, 100) is None
    table = following(None, COMMIT, (NIGHTLY,), 100)
    assert table is not None
    assert following(table, NEWER, None, 200) == replace(table, commit=NEWER)


def test_what_would_have_come_before_there_was_a_schedule_is_not_owed() -> None:
    assert [is_owed(entry(NIGHTLY, 100), at) for at in (99, 100, 101)] == [False, False, True]


def test_a_time_that_came_is_a_fact_with_a_name_of_its_own() -> None:
    table = following(None, COMMIT, (NIGHTLY,), 100)
    assert table is not None
    assert fact_of(table, table.entries[0], 5_000) == replace(
        COMMIT, mid="schedule:r:30 2 * * * Europe/Berlin:5000", event="schedule", paths=None
    )
