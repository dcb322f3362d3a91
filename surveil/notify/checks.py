"""Tells a GitHub how its commits stand with us as check runs: with a summary, and what failed beside the lines.

What belongs here: from how things stand to check runs. What does not: how they stand (`standing`), what is told of
tests (`tested`), and how GitHub is told (`surveil.forge.app`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

from surveil.answer.views import time_text
from surveil.calling import Caller
from surveil.core.model import Status
from surveil.core.outbox import Draft, Fate, Outcome, Parcel
from surveil.forge import Words
from surveil.forge.app import App, Checks
from surveil.forge.checks import Annotation, CheckRun
from surveil.forge.github import GitHub
from surveil.forge.projects import project_of
from surveil.frozen import dataclass
from surveil.notify.standing import Jobs, Standing, standings
from surveil.notify.tested import about_build, about_job
from surveil.store import JournalLine, Reader

_STATES: Final = {
    Status.BLOCKED: "queued",
    Status.HELD: "queued",
    Status.QUEUED: "queued",
    Status.RUNNING: "in_progress",
    Status.PASSED: "success",
    Status.FAILED: "failure",
    Status.ERRORED: "failure",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "skipped",
}
_TOLERATED: Final = "neutral"
WORDS: Final[Words] = GitHub()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule:
    """Which app tells what. `projects` and `context` are as those of statuses."""

    name: str
    app: App
    context: str = "surveil"
    jobs: Jobs = "all"
    projects: tuple[tuple[str, str], ...] = ()


class CheckRuns:
    """See `surveil.notify.targets.Target`. Links begin with `public_url`, and without one there are none."""

    def __init__(
        self,
        rule: CheckRule,
        *,
        reader: Reader,
        caller: Caller,
        public_url: str | None,
        now: Callable[[], int],
        cluster: str,
    ) -> None:
        self._rule = rule
        self._reader = reader
        self._checks = Checks(rule.app, caller)
        self._public_url = (public_url or "").rstrip("/")
        self._now = now
        self._cluster = cluster
        self._projects = dict(rule.projects)

    @property
    def name(self) -> str:
        """Of the forge, in the file of rules."""
        return self._rule.name

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """The check runs of all that these lines are about."""
        found: list[Draft] = []
        for standing in standings(self._reader, lines, prefix=self._rule.context, jobs=self._rule.jobs):
            project = project_of(standing.build.repo, url=self._rule.app.url, words=WORDS, named=self._projects)
            if project is not None:
                found.append(_draft(self._run(standing, project), standing))
        return found

    async def tell(self, parcel: Parcel) -> Outcome:
        """Tell GitHub."""
        try:
            fields = json.loads(parcel.body)
            run = CheckRun(**{**fields, "annotations": tuple(Annotation(**each) for each in fields["annotations"])})
        except (ValueError, TypeError, KeyError) as error:
            return Outcome(fate=Fate.HOPELESS, reason=f"what was to be told is no check run ({error})")
        return await self._checks.tell(run, now=self._now())

    def _run(self, standing: Standing, project: str) -> CheckRun:
        job, build = standing.job, standing.build
        what = build if job is None else job
        told = about_build(standing) if job is None else about_job(self._reader, standing.detail, job)
        return CheckRun(
            project=project,
            sha=build.sha,
            name=standing.context,
            external_id=f"{self._cluster}:{build.id if job is None else job.id}",
            state=_TOLERATED if standing.tolerated else _STATES[standing.state],
            title=standing.description,
            summary=told.summary,
            url=f"{self._public_url}{standing.place}" if self._public_url else "",
            started_at=_second(what.started_at),
            finished_at=_second(what.finished_at),
            annotations=told.annotations,
        )


def _second(at: int | None) -> str | None:
    """An instant as GitHub writes it."""
    text = time_text(at)
    return None if text is None else f"{text.partition('.')[0]}Z"


def _draft(run: CheckRun, standing: Standing) -> Draft:
    subject = f"{run.project}@{run.sha}"
    return Draft(
        subject=subject, slot=f"{subject}:{run.name}", body=json.dumps(asdict(run), sort_keys=True),
        made_at=standing.at, rank=standing.build.id, news=standing.news,
    )  # fmt: skip
