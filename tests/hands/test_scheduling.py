"""Schedules in the hands of a dispatcher that dies and comes back, under a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import pytest

from surveil.core.timetable import Timetable
from surveil.core.triggers import Schedule
from surveil.frozen import replace
from surveil.hands.scheduling import AGAIN_MS, LOOK_MS, Scheduler
from surveil.pipeline.cron import next_at
from surveil.protocol import CommitSeen

HOUR_MS = 3_600_000
START_AT = 1_792_800_000_000
"""The evening before clocks are set back in Berlin."""
COMMIT = CommitSeen(
    mid="push:r:refs/heads/main:a", repo="r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="",
    pipeline="jobs: {}", pipeline_file=".surveil.yml", base="refs/heads/main",
)  # fmt: skip
HOURLY, NIGHTLY = Schedule(cron="0 * * * *"), Schedule(cron="30 2 * * *", timezone="Europe/Berlin")


@dataclass
class Life:
    """What outlives a dispatcher: its disk and the time. The builds are known by the names of their facts."""

    now: int = START_AT
    tables: dict[str, Timetable] = field(default_factory=dict)
    built: dict[str, CommitSeen] = field(default_factory=dict)
    said: int = 0
    watched: bool = True
    room: bool = True

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.scheduler = Scheduler(
            self.tables.values(), write=self._write, is_watched=lambda _: self.watched, now=lambda: self.now
        )

    async def _write(self, repo: str, table: Timetable | None) -> None:
        self.tables.pop(repo, None)
        if table is not None:
            self.tables[repo] = table

    def learn(self, schedules: Iterable[Schedule] | None, commit: CommitSeen = COMMIT) -> None:
        asyncio.run(self.scheduler.learn(commit, None if schedules is None else tuple(schedules)))

    def submit(self, commit: CommitSeen) -> bool:
        self.said += 1
        if self.room:
            self.built.setdefault(commit.mid, commit)
        return self.room

    def look(self) -> int:
        return self.scheduler.look(self.submit)

    def live(self, ms: int) -> None:
        """Let time go by, as `run` would."""
        until = self.now + ms
        while (wait_ms := self.look()) and self.now + wait_ms <= until:
            self.now += wait_ms
        self.now = until
        self.look()

    def times(self) -> list[int]:
        return sorted(int(mid.rpartition(":")[2]) for mid in self.built)


def coming(schedule: Schedule, since: int, until: int) -> list[int]:
    found: list[int] = []
    at = next_at(schedule.cron, schedule.timezone, since)
    while at is not None and at <= until:
        found.append(at)
        at = next_at(schedule.cron, schedule.timezone, at)
    return found


def test_every_time_is_built_once_and_said_once() -> None:
    life = Life()
    life.learn([NIGHTLY])
    life.live(3 * 24 * HOUR_MS)
    assert life.times() == coming(NIGHTLY, START_AT, life.now)
    assert life.said == len(life.built) == 3


def test_after_downtime_one_build_stands_for_all_that_were_missed() -> None:
    life = Life()
    life.learn([HOURLY])
    life.live(HOUR_MS)
    life.now += 10 * HOUR_MS + 1
    life.restart()
    life.live(0)
    expected = coming(HOURLY, START_AT, life.now)
    assert life.times() == [expected[0], expected[-1]]
    life.restart()
    life.live(0)
    assert life.times() == [expected[0], expected[-1]], "a restart without anything missed builds nothing"


@pytest.mark.parametrize("seed", range(30))
def test_whenever_it_dies_nothing_comes_twice_and_after_each_absence_the_newest_time_was_built(seed: int) -> None:
    dice, life = Random(seed), Life()
    schedule = dice.choice((HOURLY, NIGHTLY, Schedule(cron="*/20 1-4 * * *", timezone="Europe/Berlin")))
    life.learn([schedule])
    every = set()
    for _ in range(12):
        life.live(dice.randrange(1, 9 * HOUR_MS))
        owed = coming(schedule, START_AT, life.now)
        if owed:
            assert owed[-1] in life.times(), "it was up, and the newest time was not built"
        if dice.random() < 0.4:
            life.learn([schedule], replace(COMMIT, sha=f"{dice.getrandbits(160):040x}"))
        if dice.random() < 0.7:
            life.now += dice.randrange(0, 40 * HOUR_MS)
            life.restart()
        every = set(coming(schedule, START_AT, life.now))
    assert set(life.times()) <= every
    assert len(life.times()) == len(set(life.times()))


def test_a_new_schedule_is_not_owed_what_lies_behind_it() -> None:
    life = Life()
    life.learn([HOURLY])
    assert (life.look(), life.built) == (min(LOOK_MS, coming(HOURLY, START_AT, START_AT + HOUR_MS)[0] - START_AT), {})


def test_the_newest_commit_is_built_and_what_is_scheduled_no_more_is_not() -> None:
    life = Life()
    life.learn([HOURLY])
    newer = replace(COMMIT, sha="b" * 40)
    life.learn([HOURLY], newer)
    life.live(HOUR_MS)
    assert {commit.sha for commit in life.built.values()} == {newer.sha}
    assert {commit.event for commit in life.built.values()} == {"schedule"}
    life.learn([])
    life.live(5 * HOUR_MS)
    assert (len(life.built), life.tables, life.scheduler.upcoming()) == (1, {}, [])


def test_while_nobody_watches_or_there_is_no_room_the_newest_time_waits() -> None:
    life = Life(watched=False)
    life.learn([HOURLY])
    life.live(3 * HOUR_MS)
    assert life.built == {}
    assert life.look() <= AGAIN_MS
    life.watched, life.room = True, False
    life.live(0)
    assert life.built == {}
    life.room = True
    life.live(AGAIN_MS)
    assert life.times() == coming(HOURLY, START_AT, life.now)[-1:]


def test_a_clock_that_is_set_back_brings_nothing_again() -> None:
    life = Life()
    life.learn([HOURLY])
    life.live(4 * HOUR_MS)
    before = life.times()
    life.now -= 2 * HOUR_MS
    life.live(2 * HOUR_MS)
    assert life.times() == before


def test_people_are_told_what_comes_next() -> None:
    life = Life()
    life.learn([NIGHTLY])
    life.look()
    assert life.scheduler.upcoming() == [
        ("r", "30 2 * * *", "Europe/Berlin", coming(NIGHTLY, START_AT, 2 * START_AT // 2 + 48 * HOUR_MS)[0])
    ]


def test_a_loop_that_runs_hears_of_a_new_schedule_at_once_and_ends_when_it_is_cancelled() -> None:
    async def scene() -> None:
        life = Life()
        running = asyncio.create_task(life.scheduler.run(life.submit))
        await asyncio.sleep(0)
        await life.scheduler.learn(COMMIT, (HOURLY,))
        life.now += HOUR_MS
        life.scheduler.stir()
        async with asyncio.timeout(20):
            while not life.built:  # noqa: ASYNC110  # what is built has no event
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
