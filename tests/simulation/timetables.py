"""Worlds of their own for schedules: hours instead of minutes, with the real timetables, the real hands that wait for
them and the real mind that makes their builds, while processes die, clocks are set and observers come and go.

What belongs here: one such world, and the outside rules of schedules. What does not: runners and their work, of which
no schedule knows (`world`), zones and days on which clocks change (`tests/pipeline/test_cron.py`).

What is due is reckoned here by plain division, and what was asked for is remembered from what was pushed: nothing is
taken from the code that is judged.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Final

from surveil.core.dispatch import handle
from surveil.core.events import BuildWanted
from surveil.core.policy import Policy
from surveil.core.state import Identity, State
from surveil.core.timetable import Timetable
from surveil.core.triggers import Schedule as Asked
from surveil.hands.scheduling import Scheduler
from surveil.protocol import CommitSeen
from tests.simulation.clock import Schedule, Timer
from tests.simulation.storage import ModelStore
from tests.simulation.violation import require

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
LASTS_MS: Final = 6 * HOUR_MS
SLACK_MS: Final = 20_000
"""So long after its time a build is there, where nothing is wrong."""
DUE: Final = {
    "20,50 * * * *": (30 * MINUTE_MS, 20 * MINUTE_MS),
    "5 * * * *": (HOUR_MS, 5 * MINUTE_MS),
    "0 3 * * *": (24 * HOUR_MS, 3 * HOUR_MS),
}
"""Schedules in UTC, with their period, and how far into it they come."""
REPOS: Final = ("one", "two")
_MID: Final = re.compile(r"schedule:(\w+):(.+) UTC:(\d+)(?:\D.*)?")


def newest(cron: str, at: int) -> int:
    """The last time of a schedule up to then."""
    period, offset = DUE[cron]
    return (at - offset) // period * period + offset


class KilledError(Exception):
    """The process died here."""


class Hours:
    """One world, from its seed on."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.schedule = Schedule()
        self.base = 1_700_000_000_000 + self.dice.randrange(24 * HOUR_MS)
        self.store = ModelStore()
        self.disk: dict[str, Timetable] = {}
        self.asked: dict[tuple[str, str], int] = {}
        """The schedules that are there by what was pushed, and since when."""
        self.heads: dict[str, str] = {}
        self.built: Counter[tuple[str, str, int]] = Counter()
        self.watched = dict.fromkeys(REPOS, True)
        self.full = False
        self.dies_writing = ""
        self.life = 0
        self.scheduler: Scheduler | None = None
        self.well_since: int | None = None
        """Since when nothing was wrong."""
        self._timer: Timer | None = None
        self._births()

    def wall(self) -> int:
        """The time as the dispatcher's machine has it."""
        return self.base + self.schedule.now

    # ---- the dispatcher ----

    def _births(self) -> None:
        self.life += 1
        self.scheduler = Scheduler(
            list(self.disk.values()), write=self._write, is_watched=self.watched.__getitem__, now=self.wall
        )
        identity = Identity(cluster="c", epoch=self.store.claim(), bulk_port=1)
        self.state = State.load(self.store.open_records(), identity=identity, next_build=self.store.next_build)
        self._is_well()
        self._look()

    def _is_well(self) -> None:
        self.well_since = None if self.full or self.scheduler is None else self.wall()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.scheduler is not None:
            self._timer = self.schedule.after(self.scheduler.look(self._submit), self._look)

    def _submit(self, commit: CommitSeen) -> bool:
        said = _MID.fullmatch(commit.mid)
        require(said is not None, "S1", f"{commit.mid} is no fact of a schedule")
        assert said is not None
        repo, cron, at, now = said[1], said[2], int(said[3]), self.wall()
        require(at <= now, "S1", f"{commit.mid} is said {at - now} ms before its time")
        require(at == newest(cron, now), "S2", f"{commit.mid} is said after {newest(cron, now)} has come as well")
        since = self.asked.get((repo, cron))
        require(since is not None and at > since, "S3", f"{commit.mid} was asked for since {since} only")
        require(self.watched[repo], "S3", f"{commit.mid} is said while nobody watches {repo}")
        require(commit.sha == self.heads[repo], "S4", f"{commit.mid} is not of the newest commit")
        if self.full:
            return False
        self.schedule.after(self.dice.randrange(3_000), self._make, self.life, commit, (repo, cron, at))
        return True

    def _make(self, life: int, commit: CommitSeen, key: tuple[str, str, int]) -> None:
        if life != self.life or self.scheduler is None or commit.mid in self.store.mids:
            return
        wanted = BuildWanted(
            mid=commit.mid, repo=commit.repo, ref=commit.ref, sha=commit.sha, event=commit.event, message="", author="",
            pipeline_file="", jobs=(), carried={}, skipped="it has nothing to run",
        )  # fmt: skip
        handle(self.state, wanted, self.wall(), Policy())
        self.store.commit(self.store.epoch, self.state.take_changes(), {})
        self.built[key] += 1
        require(self.built[key] == 1, "S2", f"{key} was built {self.built[key]} times")

    async def _write(self, repo: str, table: Timetable | None) -> None:
        if self.dies_writing == "before":
            raise KilledError
        if table is None:
            self.disk.pop(repo, None)
        else:
            self.disk[repo] = table
        if self.dies_writing == "after":
            self._take_in()
            raise KilledError

    # ---- what happens to it ----

    def push(self) -> None:
        """Somebody pushes to a main branch; the pipeline file of the commit may be broken."""
        if self.scheduler is None:
            return
        self.end_well()
        repo = self.dice.choice(REPOS)
        crons = None if self.dice.random() < 0.1 else [cron for cron in DUE if self.dice.random() < 0.6]
        self.pushed = repo, f"{self.schedule.now:040x}", crons
        commit = CommitSeen(
            mid=f"push:{repo}:{self.pushed[1]}", repo=repo, ref="refs/heads/main", sha=self.pushed[1], event="push",
            message="", author="", pipeline="", pipeline_file=".surveil.yml",
        )  # fmt: skip
        asked = None if crons is None else tuple(Asked(cron=cron) for cron in crons)
        self.dies_writing = self.dice.choice(("before", "after")) if self.dice.random() < 0.1 else ""
        try:
            self.scheduler.learn(commit, asked).send(None)
        except StopIteration:
            self._take_in()
            self._is_well()
            self._look()
        except KilledError:
            self.die()
        self.dies_writing = ""

    def _take_in(self) -> None:
        repo, sha, crons = self.pushed
        self.heads[repo] = sha
        if crons is not None:
            kept = {cron: self.asked.get((repo, cron), self.wall()) for cron in crons}
            self.asked = {key: since for key, since in self.asked.items() if key[0] != repo}
            self.asked |= {(repo, cron): since for cron, since in kept.items()}

    def die(self) -> None:
        """The process ends without a word, and somebody may set the clock before the next one."""
        self.end_well()
        if self.scheduler is None:
            return
        self.scheduler = None
        self.schedule.after(self.dice.choice((1_000, 10 * MINUTE_MS, 2 * HOUR_MS)), self._comes_back)

    def _comes_back(self) -> None:
        if self.dice.random() < 0.1:
            self.base += self.dice.randint(-HOUR_MS, HOUR_MS)
        self._births()

    def trouble(self) -> None:
        """An observer goes or comes, the dispatcher has too much to read or not any more, or a clock jumps ahead."""
        self.end_well()
        match self.dice.randrange(5):
            case 0 | 1:
                repo = self.dice.choice(REPOS)
                self.watched[repo] = not self.watched[repo]
            case 2 | 3:
                self.full = not self.full
            case _:
                self.base += self.dice.randint(0, HOUR_MS)
        self._is_well()

    # ---- what must be so ----

    def end_well(self) -> None:
        """A time in which nothing was wrong ends: all that came in it is built, and before it the last that was missed.

        After a clock jumped ahead, nobody looks for up to a minute.
        """
        if self.well_since is None:
            return
        began, now = self.well_since, self.wall() - SLACK_MS
        self.well_since = None
        for (repo, cron), since in self.asked.items():
            if not self.watched[repo] or now - began < MINUTE_MS:
                continue
            at = newest(cron, began + MINUTE_MS)
            while at <= now:
                if at > since:
                    require(
                        self.built[repo, cron, at] == 1, "S5", f"{cron} of {repo} came at {at}, and nothing is built"
                    )
                at += DUE[cron][0]

    def live(self) -> None:
        """All that happens in it, to its end, at which all is well."""
        for what, every_ms in ((self.push, HOUR_MS), (self.die, HOUR_MS), (self.trouble, HOUR_MS)):
            at = self.dice.expovariate(1 / every_ms)
            while at < LASTS_MS:
                self.schedule.at(int(at), what)
                at += self.dice.expovariate(1 / every_ms)
        self.schedule.at(0, self.push)
        self.schedule.run(LASTS_MS + 10 * MINUTE_MS)
        self.end_well()
        self.full = False
        self.watched.update(dict.fromkeys(REPOS, True))
        if self.scheduler is None:
            self._births()
        self._is_well()
        self.schedule.run(self.schedule.now + 10 * MINUTE_MS)
        self.end_well()
