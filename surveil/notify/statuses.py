"""Tells a forge how its commits stand with us: a status of each build, and of its jobs.

What belongs here: from how things stand to statuses. What does not: how they stand, and in which words (`standing`),
and how a forge is told (`surveil.forge`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from surveil.calling import Caller
from surveil.core.model import Status
from surveil.core.outbox import Draft, Fate, Outcome, Parcel
from surveil.forge import CommitStatus, State
from surveil.forge.projects import project_of
from surveil.forge.speaking import Forge
from surveil.frozen import dataclass
from surveil.notify.standing import Jobs, Standing, standings
from surveil.store import JournalLine, Reader

STATES: Final = {
    Status.BLOCKED: State.PENDING,
    Status.HELD: State.PENDING,
    Status.QUEUED: State.PENDING,
    Status.RUNNING: State.RUNNING,
    Status.PASSED: State.SUCCESS,
    Status.FAILED: State.FAILURE,
    Status.ERRORED: State.ERROR,
    Status.CANCELLED: State.CANCELLED,
    Status.SKIPPED: State.SKIPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a forge is told. `projects` are (repository, project) where the address of a repository does not say it;
    `context` begins the name of each status.
    """

    name: str
    forge: Forge
    context: str = "surveil"
    jobs: Jobs = "all"
    projects: tuple[tuple[str, str], ...] = ()


class Statuses:
    """See `surveil.notify.targets.Target`. Links begin with `public_url`, and without one there are none."""

    def __init__(
        self, rule: Rule, *, reader: Reader, caller: Caller, public_url: str | None, now: Callable[[], int]
    ) -> None:
        self._rule = rule
        self._reader = reader
        self._caller = caller
        self._public_url = (public_url or "").rstrip("/")
        self._now = now
        self._projects = dict(rule.projects)

    @property
    def name(self) -> str:
        """Of the forge, in the file of rules."""
        return self._rule.name

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """The statuses of all that these lines are about."""
        found: list[Draft] = []
        forge = self._rule.forge
        for standing in standings(self._reader, lines, prefix=self._rule.context, jobs=self._rule.jobs):
            project = project_of(standing.build.repo, url=forge.url, words=forge.words, named=self._projects)
            if project is not None:
                found.append(_draft(self._status(standing, project), standing))
        return found

    async def tell(self, parcel: Parcel) -> Outcome:
        """Tell the forge."""
        try:
            fields = json.loads(parcel.body)
            status = CommitStatus(**{**fields, "state": State(fields["state"])})
        except (ValueError, TypeError, KeyError) as error:
            return Outcome(fate=Fate.HOPELESS, reason=f"what was to be told is no status ({error})")
        return await self._rule.forge.tell(self._caller, status, now=self._now())

    def _status(self, standing: Standing, project: str) -> CommitStatus:
        return CommitStatus(
            project=project,
            sha=standing.build.sha,
            context=standing.context,
            state=STATES[standing.state],
            description=standing.description,
            url=f"{self._public_url}{standing.place}" if self._public_url else "",
        )


def _draft(status: CommitStatus, standing: Standing) -> Draft:
    subject = f"{status.project}@{status.sha}"
    body = {name: getattr(status, name) for name in CommitStatus.__slots__}
    return Draft(
        subject=subject, slot=f"{subject}:{status.context}", body=json.dumps(body, sort_keys=True), made_at=standing.at,
        rank=standing.build.id, news=standing.news,
    )  # fmt: skip
