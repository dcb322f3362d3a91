"""Tells of builds as they happen: what begins, what the steps print, what was lost, the verdicts.

What belongs here: following and wording. What does not: waiting for news (`surveil.client`), and printing (`screen`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from surveil.client import Client
from surveil.errors import ExitCode
from surveil.up.screen import JobOutput, Screen, commit_line, took

LOGS_MAX: Final = 16
"""So many jobs are listened to at once; the output of others is told when its turn comes."""
VERDICTS: Final[Mapping[str, ExitCode]] = {
    "passed": ExitCode.OK,
    "skipped": ExitCode.OK,
    "failed": ExitCode.BUILD_FAILED,
    "errored": ExitCode.INFRASTRUCTURE,
    "cancelled": ExitCode.CANCELLED,
}
"""The states that nothing leaves, and the exit code of each."""


class Teller:
    """Tells of the builds of one dispatcher on one screen."""

    def __init__(self, client: Client, screen: Screen) -> None:
        self._client = client
        self._screen = screen
        self._listening = asyncio.Semaphore(LOGS_MAX)
        self._telling: set[int] = set()

    async def tell(self, number: int) -> dict[str, Any]:
        """Tell of a build from its beginning to its verdict; returns its document.

        Raises:
            SurveilError: the dispatcher does not answer any more.
        """
        alone = not self._telling
        self._telling.add(number)
        try:
            build = await self._client.build(number)
            await self._screen.say(f"build {number}: {commit_line(build)}", "running")
            if build["rule"]:
                await self._screen.say(f"  no pipeline file, so by the files that are there: {build['rule']}", "faint")
            build = await self._follow(build, alone=alone)
            await self._tell_verdict(build)
            return build
        finally:
            self._telling.discard(number)

    async def _follow(self, build: Mapping[str, Any], *, alone: bool) -> dict[str, Any]:
        """Print the logs of all jobs as they come, until the build has its verdict; returns its document then."""
        number = build["id"]
        listening: set[str] = set()

        def listen(logs: asyncio.TaskGroup, job: str) -> None:
            if job not in listening:
                listening.add(job)
                name = job.partition("/")[2] if alone else job
                prefix = "" if alone and len(build["jobs"]) <= 1 else f"{name} | "
                logs.create_task(self._print_log(job, prefix), name=f"log of {job}")

        try:
            async with asyncio.TaskGroup() as logs:
                async for note in self._client.follow_build(number):
                    if note["what"] == "attempt":
                        await self._tell_attempt(note)
                        listen(logs, note["id"].rpartition("#")[0])
                ended = await self._client.build(number)
                for job in ended["jobs"]:
                    if job["attempts"]:
                        listen(logs, job["id"])
        except ExceptionGroup as group:
            # They all fail for the same reason: the dispatcher is gone, or nobody reads what is printed.
            raise group.exceptions[0] from group
        return ended

    async def _print_log(self, job: str, prefix: str) -> None:
        async with self._listening:
            output, shown = JobOutput(self._screen, prefix), 0
            async for piece in self._client.follow_log(job):
                if shown and piece.attempt != shown:
                    await output.finish()
                    await self._screen.say(f"--- {job}: attempt {piece.attempt} begins ---", "faint")
                shown = piece.attempt
                for gap in piece.damaged:
                    await self._screen.say(
                        f"--- {job}: bytes {gap['at']} to {gap['end']} of its log are lost ---", "weak"
                    )
                await output.put(piece.data)
            await output.finish()

    async def _tell_attempt(self, note: Mapping[str, Any]) -> None:
        """What people should know of a try before the verdict: that it was lost, or could not run."""
        if note["state"] in {"lost", "errored"}:
            job, _, attempt = note["id"].rpartition("#")
            reason = f": {note['reason']}" if note["reason"] else ""
            await self._screen.say(f"--- {job}: attempt {attempt} {note['state']}{reason} ---", "lost")

    async def _tell_verdict(self, build: Mapping[str, Any]) -> None:
        jobs = build["jobs"]
        if len(jobs) > 1 or build["state"] != "passed":
            for job in jobs:
                await self._screen.tell_verdict(
                    f"  {verdict_words(job)} {job['name']}{took(job)}{why(job)}", job["state"]
                )
        for complaint in build["complaints"]:
            if complaint != build["reason"]:
                await self._screen.say(complaint, "weak")
        line = f"{verdict_words(build)} build {build['id']}: {commit_line(build)}{took(build)}{why(build)}"
        await self._screen.tell_verdict(line, build["state"])


def verdict_words(record: Mapping[str, Any]) -> str:
    """The state of a build or job, wide enough that the next words stand in a column."""
    return f"{record['state']:<9}"


def why(record: Mapping[str, Any]) -> str:
    """The reason of a state that has one."""
    return f": {record['reason']}" if record["reason"] and record["state"] != "passed" else ""


def exit_code_of(build: Mapping[str, Any]) -> ExitCode:
    """What a command that waited for this build ends with; a pipeline that is none is its author's doing."""
    if build["state"] == "errored" and build["complaints"]:
        return ExitCode.INVALID
    return VERDICTS[build["state"]]
