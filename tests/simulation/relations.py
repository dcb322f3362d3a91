"""The outside checkers of what jobs are to each other: conditions, outputs, matrices, groups, turns and verdicts.

What belongs here: what must be true of jobs beside each other, at each transaction and at each start of processes. What
does not: what a single job or attempt may do (checkers), and between repositories (fairness).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from surveil.core.model import VERDICTS, Attempt, Build, Job, Record, Status
from tests.simulation.graphs import GIVEN, Seen, View, meaning
from tests.simulation.truth import Work
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.world import World

PRIORITY_MS: Final = 600_000
"""What the documents say that a step of priority is worth."""
_WORST: Final = (Status.FAILED, Status.ERRORED, Status.CANCELLED)


class Relations:
    """What the jobs of one world are to each other."""

    def __init__(self, world: World) -> None:
        self.world = world

    # ---- transactions --------------------------------------------------------------------------------------

    def committed(
        self, before: Mapping[str, Job], records: Iterable[Record], new: list[Attempt], passed_over: list[Job]
    ) -> None:
        """A transaction is on disk; `before` is how its jobs stood before it."""
        for record in records:
            match record:
                case Job():
                    was = before.get(record.id)
                    if was is None or was.state != record.state:
                        self._job_moved(record)
                case Build():
                    self._verdict_follows(record)
                case _:
                    pass
        for attempt in new:
            job = self._job(attempt.job)
            require(self._holds(job), "I14", f"{attempt.job}#{attempt.number} began although its condition is false")
            self._alone_in_the_books(job)
        self._turns(new, passed_over)

    def _job(self, job_id: str) -> Job:
        return self.world.store.jobs[job_id]

    def _job_moved(self, job: Job) -> None:
        if job.state == Status.SKIPPED:
            require(not self._holds(job), "I18", f"{job.id} was skipped ({job.reason}) although its condition is true")
        if job.state == Status.ERRORED:
            require(job.attempt > 0, "I18", f"{job.id} was errored before it ever ran: {job.reason}")
        if job.state == Status.FAILED and job.spec.fail_fast and not job.spec.continue_on_error:
            for other in self._cells(job):
                ended = other.state in VERDICTS
                require(
                    ended, "I19", f"{other.id} is {other.state} although {job.spec.name} failed, and it is fail fast"
                )
        if job.state == Status.CANCELLED and "fail_fast" in job.reason:
            causes = [other for other in self._cells(job) if other.state == Status.FAILED and not _tolerated(other)]
            require(bool(causes), "I19", f"{job.id} is cancelled for a failure that nobody had")
        if job.spec.cancel_superseded and job.state in {Status.QUEUED, Status.RUNNING}:
            older = [other for other in self._group(job) if other.build < job.build and other.state not in VERDICTS]
            require(not older, "I20", f"{[other.id for other in older]} go on, although {job.id} is {job.state}")
        if job.state == Status.CANCELLED and "superseded" in job.reason:
            newer = self._job(job.reason.split()[2])
            rightly = newer.build > job.build and newer.spec.cancel_superseded and newer in self._group(job)
            require(rightly, "I20", f"{job.id} was cancelled: {job.reason}")

    def _cells(self, job: Job) -> list[Job]:
        """The other cells of the same matrix."""
        name = job.spec.name.partition("[")[0] + "["
        jobs = [self._job(job_id) for job_id in self.world.store.builds[job.build].jobs]
        return [other for other in jobs if other.spec.name.startswith(name) and other.id != job.id]

    def _group(self, job: Job) -> list[Job]:
        """All jobs of the same group."""
        name = (job.repo, job.spec.concurrency)
        return [other for other in self.world.store.jobs.values() if (other.repo, other.spec.concurrency) == name]

    def _alone_in_the_books(self, job: Job) -> None:
        if job.spec.concurrency:
            checkers = self.world.checkers
            at_work = [each.id for each in self._group(job) if checkers.open_of.get(each.id)]
            require(at_work in ([], [job.id]), "I15", f"{at_work} are at work together in {job.spec.concurrency}")

    def _verdict_follows(self, build: Build) -> None:
        """A build's verdict is the worst of its jobs', but for failures that may be."""
        if build.state not in VERDICTS or not build.jobs:
            return
        jobs = [self._job(job_id) for job_id in build.jobs]
        states = {Status.PASSED if _tolerated(job) else job.state for job in jobs}
        best = Status.SKIPPED if states == {Status.SKIPPED} else Status.PASSED
        worst = next((state for state in _WORST if state in states), best)
        require(build.state == worst, "I21", f"build {build.id} is {build.state}, and its jobs make it {worst}")

    # ---- conditions ----------------------------------------------------------------------------------------

    def _holds(self, job: Job) -> bool:
        build = self.world.store.builds[job.build]
        jobs = {self._job(job_id).spec.name: self._job(job_id) for job_id in build.jobs}
        if any(jobs[name].state not in VERDICTS for name in job.spec.needs):
            return False
        names, ahead = dict.fromkeys(job.spec.needs), [*job.spec.needs]
        while ahead:
            for name in jobs[ahead.pop()].spec.needs:
                if name not in names:
                    names[name] = None
                    ahead.append(name)
        needs = tuple(self._seen(jobs[name]) for name in job.spec.needs)
        before = tuple(self._seen(jobs[name]) for name in names)
        return meaning(job.spec)(View(build.ref, needs, before))

    def _seen(self, job: Job) -> Seen:
        return Seen(job.state.value, _tolerated(job), self._word(job))

    def _word(self, job: Job) -> str:
        """What the attempt that decided really put out."""
        job = self._really(job)
        work = self.world.truth.works.get((job.id, job.attempt))
        return work.word if work is not None and job.state in {Status.PASSED, Status.FAILED} else ""

    def _really(self, job: Job) -> Job:
        """The job as it ran, in a build before where it is carried over."""
        while job.state == Status.PASSED and not job.attempt:
            earlier = self.world.store.builds[job.build].retry_of
            assert earlier is not None, f"{job.id} passed without ever being tried"
            job = self._job(f"{earlier}/{job.spec.name}")
        return job

    def _kept_by(self, job: Job) -> list[tuple[str, int, bool]]:
        """The attempts whose artifacts a job takes, and whether these may be missing: of each need that passed or
        failed, the one that decided.
        """
        ran = (self._really(self._job(f"{job.build}/{take.job}")) for take in job.spec.artifacts_from)
        ended = (one for one in ran if one.state in {Status.PASSED, Status.FAILED})
        return [(one.id, one.attempt, one.state != Status.PASSED) for one in ended]

    # ---- turns ---------------------------------------------------------------------------------------------

    def _turns(self, new: list[Attempt], passed_over: list[Job]) -> None:
        """Of the jobs of a repository that a runner fits, the one whose turn it is gets it."""
        for attempt in new:
            served, labels = self._job(attempt.job), set(self.world.store.runners[attempt.runner].labels)
            for job in passed_over:
                # Nobody outside knows for how long a group is held by what was cancelled.
                may_run = not job.spec.concurrency or job.spec.concurrency == served.spec.concurrency
                fits = job.repo == served.repo and set(job.spec.labels) <= labels and may_run
                require(not fits or _turn(served) < _turn(job), "TURN", f"{served.id} was served before {job.id}")

    # ---- the world of processes ----------------------------------------------------------------------------

    def began(self, work: Work, waking_ms: int) -> None:
        """An attempt's processes begin: is its group free, was it told what its needs put out, and does it have what
        they kept?
        """
        job, now = self._job(work.job), self.world.schedule.now
        for other in list(self.world.truth.alive.values()):
            if other is work or not work.group or other.group != work.group:
                continue
            away = other.host.paused or now - other.host.woken_at <= waking_ms
            name = f"{work.job}#{work.attempt}"
            require(away, "I15", f"{name} begins while {other.job}#{other.attempt} runs in the group {work.group}")
        if job.spec.env.get(GIVEN):
            word = self._word(self._job(f"{job.build}/{job.spec.needs[0]}"))
            require(
                work.given == word, "I22", f"{work.job}#{work.attempt} was told {work.given!r}, and it was {word!r}"
            )
        told = [(f"{take.build or job.build}/{take.job}", take.attempt, take.optional) for take in work.takes]
        kept = self._kept_by(job)
        require(told == kept, "I22", f"{work.job}#{work.attempt} takes {told}, and what counts is {kept}")
        for giver, number, _ in told:
            over = not self.world.truth.works[giver, number].alive
            require(over, "I22", f"{work.job}#{work.attempt} begins, and {giver}#{number} is not over")


def _tolerated(job: Job) -> bool:
    return job.spec.continue_on_error and job.state in {Status.FAILED, Status.ERRORED}


def _turn(job: Job) -> tuple[int, int, int]:
    return (job.created_at - job.spec.priority * PRIORITY_MS, job.build, job.position)
