"""Tells of builds as they happen: what begins and where, what the steps print, why something waits, what was lost, the
verdicts.

What belongs here: following and wording. What does not: waiting for news (`surveil.client`), and printing
(`surveil.screen`).
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from surveil.client import VERDICTS
from surveil.client.asking import Client
from surveil.client.following import follow_build, follow_log
from surveil.core.states import WRONG
from surveil.frozen import dataclass
from surveil.screen.live import JobOutput, Screen
from surveil.screen.steps import StepHeads
from surveil.screen.tally import Tally, total
from surveil.screen.words import Waits, at_time, commit_line, first_line, took, why

_AGAIN: Final = {
    "queued": "tried again, on the next runner that is free",
    "held": "held, until a person lets it be tried again",
}
"""What becomes of a job whose attempt is over without a verdict."""
LOGS_MAX: Final = 16
"""So many jobs are listened to at once; the output of others is told when its turn comes."""
WAITING_MS: Final = 3_000
"""What waits for so long is told why, and asked again after as long."""
CAUGHT_UP_LINES: Final = 5
"""So much of the output that was there before is shown of a build that is taken up in its middle."""


@dataclass(slots=True)
class _Told:
    """One build while it is told of."""

    number: int
    jobs: int
    taken_up: bool
    tallies: dict[str, Tally] = field(default_factory=dict)
    listening: dict[str, asyncio.Task[None] | None] = field(default_factory=dict)
    """The jobs whose output is told or was; None where nothing is to be told any more."""
    ended: set[str] = field(default_factory=set)
    waits: Waits = field(default_factory=Waits)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What to type about a build that did not pass. `where` are the flags by which commands find this dispatcher;
    `over` says that it will be gone by then, so that only what needs none is of use.
    """

    where: str = ""
    over: bool = False

    def words(self, build: Mapping[str, Any]) -> str:
        """The line for this build; empty where there is nothing to do."""
        wrong = [job for job in build["jobs"] if job["state"] in WRONG and job["attempts"]]
        if build["state"] == "passed" or not wrong:
            return ""
        name = shlex.quote(wrong[0]["name"])
        if self.over:
            return f"`surveil run {name}` runs it on the files as they are now"
        logs = f"surveil logs {build['id']} {name}{self.where}"
        return f"`{logs}` shows its output again, `surveil retry {build['id']} --failed{self.where}` tries it again"


class Teller:
    """Tells of the builds of one dispatcher on one screen.

    `follow_up` makes the line that says what to type about a build that went wrong. Where `runners_come`, the first
    runner is on its way: until one is there, nobody is told to bring one.
    """

    def __init__(
        self, client: Client, screen: Screen, follow_up: FollowUp | None = None, *, runners_come: bool = False
    ) -> None:
        self._client = client
        self._screen = screen
        self._follow_up = follow_up or FollowUp()
        self._runners_come = runners_come
        self._listening = asyncio.Semaphore(LOGS_MAX)
        self._telling: set[int] = set()

    async def tell(self, number: int, *, taken_up: bool = False) -> dict[str, Any]:
        """Tell of a build from its beginning, or from now on where it is `taken_up` in its middle, to its verdict;
        returns its document.

        Raises:
            SurveilError: the dispatcher does not answer any more.
        """
        self._telling.add(number)
        try:
            build = await self._client.build(number)
            told = _Told(number=number, jobs=len(build["jobs"]), taken_up=taken_up)
            await self._begin(build, told)
            build = await self._follow(build, told)
            await self._end(build, told)
            return build
        finally:
            self._telling.discard(number)

    @property
    def _alone(self) -> bool:
        return len(self._telling) <= 1

    def _name(self, job: str) -> str:
        """What a job is called on the screen: with its build's number while several builds are told of."""
        return job.partition("/")[2] if self._alone else job

    async def _begin(self, build: Mapping[str, Any], told: _Told) -> None:
        if told.taken_up:
            since = f", begun at {at_time(build['started_at'])}" if build["started_at"] else ""
            await self._screen.say(f"build {told.number} goes on: {commit_line(build)}{since}", "heading")
            return
        again = f" (build {build['retry_of']} again)" if build.get("retry_of") else ""
        await self._screen.say(f"build {told.number}: {commit_line(build)}{again}", "heading")
        if build["rule"]:
            await self._screen.say(f"  no pipeline file, so by the files that are there: {build['rule']}", "faint")

    async def _follow(self, build: Mapping[str, Any], told: _Told) -> dict[str, Any]:
        """Print the logs of all jobs as they come, until the build has its verdict; returns its document then."""
        try:
            async with asyncio.TaskGroup() as logs:
                waiting = asyncio.create_task(self._tell_waiting(told))
                try:
                    after = await self._take_up(build, told, logs) if told.taken_up else 0
                    async for note in follow_build(self._client, told.number, after=after):
                        await self._tell_note(note, told, logs)
                finally:
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                ended = await self._client.build(told.number)
                for job in ended["jobs"]:
                    if job["attempts"]:
                        self._listen(job["id"], told, logs)
        except ExceptionGroup as group:
            # They all fail for the same reason: the dispatcher is gone, or nobody reads what is printed.
            raise group.exceptions[0] from group
        return ended

    async def _take_up(self, build: Mapping[str, Any], told: _Told, logs: asyncio.TaskGroup) -> int:
        """Go on where a build stands; returns the position of the journal from which on there is news of it."""
        page = (await self._client.ask("journal", {"after": -1, "build": told.number})).body
        for job in build["jobs"]:
            if job["state"] == "running":
                self._listen(job["id"], told, logs, tail_lines=CAUGHT_UP_LINES)
            elif job["state"] in VERDICTS:
                told.listening[job["id"]] = None
                told.ended.add(job["id"])
        return int(page["position"])

    def _listen(self, job: str, told: _Told, logs: asyncio.TaskGroup, *, tail_lines: int | None = None) -> None:
        if job not in told.listening:
            log = self._print_log(job, told, len(told.listening), tail_lines)
            told.listening[job] = logs.create_task(log, name=f"log of {job}")

    async def _print_log(self, job: str, told: _Told, number: int, tail_lines: int | None) -> None:
        async with self._listening:
            output = JobOutput(self._screen, number=number)
            shown, heads = 0, StepHeads()
            steps: Sequence[Mapping[str, Any]] = ()
            async for piece in follow_log(self._client, job, tail_lines=tail_lines):
                # Other builds come and go while this one is told of.
                name = self._name(job)
                await output.call("" if self._alone and told.jobs <= 1 else name)
                if piece.attempt != shown:
                    await output.finish()
                    shown, heads = piece.attempt, StepHeads()
                    told.tallies[job] = Tally()
                    await self._screen.say(
                        f"--- {_attempt_head(name, piece.attempt, piece.runner, piece.steps)} ---", "running"
                    )
                for gap in piece.damaged:
                    await self._screen.say(
                        f"--- {name}: bytes {gap['at']} to {gap['end']} of its log are lost ---", "weak"
                    )
                steps = piece.steps
                for part in heads.split(piece.at, piece.data, steps):
                    if isinstance(part, str):
                        await self._screen.say(f"--- {name}: {part} ---", "faint")
                    else:
                        told.tallies[job].feed(part)
                        await output.put(part)
            await output.finish()
            if job in told.tallies:
                told.tallies[job].finish()
            for part in heads.finish(steps):
                await self._screen.say(f"--- {self._name(job)}: {part} ---", "faint")

    async def _tell_note(self, note: Mapping[str, Any], told: _Told, logs: asyncio.TaskGroup) -> None:
        """What people should know of a try before the verdict: that it was lost, or could not run; and what the job
        does about it.
        """
        if note["what"] == "attempt":
            job, _, attempt = note["id"].rpartition("#")
            if note["state"] in {"lost", "errored", "fenced"}:
                reason = f": {note['reason']}" if note["reason"] else ""
                colour = "weak" if note["state"] == "fenced" else "lost"
                await self._screen.say(f"--- {self._name(job)}: attempt {attempt} {note['state']}{reason} ---", colour)
            self._listen(job, told, logs)
        elif note["what"] == "job" and note["id"] in told.listening and note["state"] in _AGAIN:
            await self._screen.say(f"--- {self._name(note['id'])}: {_AGAIN[note['state']]} ---", "weak")
        elif note["what"] == "job" and note["state"] in VERDICTS:
            told.ended.add(note["id"])
            # The last one's verdict stands in the build's at once.
            if (log := told.listening.get(note["id"])) and len(told.ended) < told.jobs:
                logs.create_task(self._tell_end(note, told, log), name=f"end of {note['id']}")

    async def _tell_end(self, note: Mapping[str, Any], told: _Told, log: asyncio.Task[None]) -> None:
        """Say how a job ended while others go on, after all that it printed."""
        await log
        tests = _tests([told.tallies[note["id"]]] if note["id"] in told.tallies else [])
        reason = f": {note['reason']}" if note["state"] != "passed" and note["reason"] else ""
        await self._screen.say(f"--- {self._name(note['id'])} {note['state']}{tests}{reason} ---", note["state"])

    async def _tell_waiting(self, told: _Told) -> None:
        """Say why jobs wait, once for each reason."""
        while True:
            await asyncio.sleep(WAITING_MS / 1000)
            if self._runners_come:
                runners = await self._client.listed("runners")
                self._runners_come = all(runner["state"] == "offline" for runner in runners)
                continue
            for news in told.waits.news(await self._client.build(told.number)):
                prefix = "" if self._alone else f"build {told.number}, "
                await self._screen.say(f"--- {prefix}{news} ---", "weak")

    async def _end(self, build: Mapping[str, Any], told: _Told) -> None:
        """The verdicts, the whole build's last; and what to type next."""
        jobs = build["jobs"]
        if len(jobs) > 1 or build["state"] != "passed":
            for job in jobs:
                tests = _tests([told.tallies[job["id"]]] if job["id"] in told.tallies else [])
                line = f"  {job['state']:<9} {self._name(job['id'])}{_in(job)}{tests}{_because(job)}"
                await self._screen.tell_verdict(line, job["state"])
        for complaint in build["complaints"]:
            if complaint != build["reason"]:
                await self._screen.say(complaint, "weak")
        about = f"build {told.number}: {commit_line(build)}{_in(build)}"
        line = f"{build['state']:<9} {about}{_tests(told.tallies.values())}{_because(build)}"
        await self._screen.tell_verdict(line, build["state"])
        if next_ := self._follow_up.words(build):
            await self._screen.say(f"          {next_}", "faint")


def _attempt_head(name: str, attempt: int, runner: str, steps: Sequence[Mapping[str, Any]]) -> str:
    """`count on local-1: Count slowly`; the name of a step that is not alone has a heading of its own."""
    again = f", attempt {attempt}" if attempt > 1 else ""
    step = f": {first_line(steps[0]['name'])}" if len(steps) == 1 and steps[0]["name"] else ""
    return f"{name}{f' on {runner}' if runner else ''}{again}{step}"


def _in(record: Mapping[str, Any]) -> str:
    """How long a build or job took, for people: ` in 2.3 s`; empty where it never started or never ended."""
    if not record["started_at"] or not record["finished_at"]:
        return ""
    return f" in {took(record['started_at'], record['finished_at'])}"


def _tests(tallies: Iterable[Tally]) -> str:
    words = total(tallies).words()
    return f", {words}" if words else ""


def _because(record: Mapping[str, Any]) -> str:
    return f": {why(record)}" if why(record) else ""
