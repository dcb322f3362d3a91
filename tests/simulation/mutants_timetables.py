"""Bugs planted into schedules, for worlds of hours (`timetables`). A list and nothing else."""

from __future__ import annotations

from tests.simulation.mutation import Mutant

HANDS = "surveil.hands.scheduling"
MIND = "surveil.core.timetable"

TIMETABLES: tuple[Mutant, ...] = (
    Mutant(
        name="said before it is due",
        sentence="the next time of a schedule is said instead of the last one",
        place=f"{HANDS}:Scheduler._look_at",
        old="came_at = last_at(entry.cron, entry.timezone, now)",
        new="came_at = next_at(entry.cron, entry.timezone, now)",
        seeds=(0,),
        rule="S1",
    ),
    Mutant(
        name="an earlier time",
        sentence="after a restart, an earlier time is taken for the last one",
        place=f"{HANDS}:Scheduler._look_at",
        old="came_at = last_at(entry.cron, entry.timezone, now)",
        new="came_at = last_at(entry.cron, entry.timezone, now if key in self._said else now - 3_600_000)",
        seeds=(0,),
        rule="S5",
    ),
    Mutant(
        name="named by the commit",
        sentence="the fact of a time has its commit in its name, so that it is built again after a push and a restart",
        place=f"{MIND}:fact_of",
        old="{came_at}",
        new="{came_at}:{table.commit.sha}",
        seeds=(8,),
        rule="S2",
    ),
    Mutant(
        name="what was never asked for",
        sentence="a new schedule is built for a time before it was pushed",
        place=f"{HANDS}:Scheduler._look_at",
        old="is_owed(entry, came_at)",
        new="True",
        seeds=(0,),
        rule="S3",
    ),
    Mutant(
        name="unwatched schedules",
        sentence="a schedule comes while nobody watches its repository",
        place=f"{HANDS}:Scheduler._look_at",
        old="not self._is_watched(table.repo) or ",
        new="",
        seeds=(0,),
        rule="S3",
    ),
    Mutant(
        name="commits of schedules not learnt",
        sentence="a push whose schedules are the same leaves the older commit to be built",
        place=f"{HANDS}:Scheduler.learn",
        old="if table == known:",
        new="if table == known or (known is not None and table is not None and table.entries == known.entries):",
        seeds=(0,),
        rule="S4",
    ),
    Mutant(
        name="said, and not taken",
        sentence="a time counts as said although too many commits wait",
        place=f"{HANDS}:Scheduler._look_at",
        old="if not self._is_watched(table.repo) or not submit(fact_of(table, entry, came_at)):",
        new="if not self._is_watched(table.repo) or submit(fact_of(table, entry, came_at)) is None:",
        seeds=(1,),
        rule="S5",
    ),
    Mutant(
        name="put off by a push",
        sentence="each push makes its schedules new, so that what was missed before it is not caught up with",
        place=f"{MIND}:following",
        old="before = {(entry.cron, entry.timezone): entry for entry in (known.entries if known is not None else ())}",
        new="before = {}",
        seeds=(0,),
        rule="S5",
    ),
    Mutant(
        name="timetable in memory alone",
        sentence="what a main branch has scheduled is not on disk",
        place=f"{HANDS}:Scheduler.learn",
        old="await self._write(commit.repo, table)",
        new="pass",
        seeds=(0,),
        rule="S5",
    ),
)
