"""What becomes of builds: opened from a commit, carried on from job to job along `needs`, and closed with one
verdict.

What belongs here: what a job's end means for those that need it, and all of them for their build. What does not: how a
job comes to its end (attempts), and where it runs (schedule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from surveil.core.decisions import Need, fill_in
from surveil.core.ending import cancel, supersede
from surveil.core.events import ApprovalWanted, BuildWanted, Carried
from surveil.core.following import Commit, Look, facts_of, whether
from surveil.core.groups import GROUP_CHARACTERS_MAX
from surveil.core.model import VERDICTS, Build, Job, Status
from surveil.core.references import Room
from surveil.core.state import State
from surveil.core.taking import carried_over, decided
from surveil.frozen import replace
from surveil.protocol import JobSpec, TakenArtifact

AWAITS_APPROVAL: Final = "waits until a person approves it"
TOLERATED_SHOWN_MAX: Final = 3
"""So many jobs that failed and may are named in the reason of a build that passed."""


def open_build(state: State, wanted: BuildWanted, now: int) -> int:
    """Make the build that a commit asks for, unless the same fact made one before; return its number."""
    known = state.by_mid.get(wanted.mid)
    if known is not None:
        return known
    build = Build(
        id=state.next_build, mid=wanted.mid, repo=wanted.repo, ref=wanted.ref, sha=wanted.sha, event=wanted.event,
        base=wanted.base, trusted=wanted.trusted, paths=wanted.paths, inputs=wanted.inputs, approved=wanted.approved,
        message=wanted.message, author=wanted.author, pipeline_file=wanted.pipeline_file, rule=wanted.rule,
        complaints=wanted.complaints, retry_of=wanted.retry_of, created_at=now,
        jobs=tuple(f"{state.next_build}/{spec.name}" for spec in wanted.jobs),
        state=Status.QUEUED, reason=_reason_of(wanted),
    )  # fmt: skip
    _give_way(state, wanted, now)
    if wanted.skipped:
        state.put(replace(build, state=Status.SKIPPED, reason=wanted.skipped, finished_at=now), now, wanted.by)
        state.forget(state.builds[build.id])
        return build.id
    if wanted.complaints or not wanted.jobs:
        reason = wanted.complaints[0] if wanted.complaints else "the pipeline has no jobs"
        state.put(replace(build, state=Status.ERRORED, reason=reason, finished_at=now), now, wanted.by)
        state.forget(state.builds[build.id])
        return build.id
    if build.awaits_approval:
        build = replace(build, state=Status.HELD, reason=f"{build.ref} is not trusted: it {AWAITS_APPROVAL}")
    state.put(build, now, wanted.by)
    for position, spec in enumerate(wanted.jobs):
        asked = carried_over(spec, wanted.carried, wanted.retry_of or 0)
        state.put(_new_job(build, position, asked, wanted.carried.get(spec.name), now), now)
    spread(state, build.id, now)
    forget_if_settled(state, build.id)  # Where all its jobs are carried over, it has its verdict already.
    return build.id


def _reason_of(wanted: BuildWanted) -> str:
    if wanted.retry_of is not None:
        return f"a retry of build {wanted.retry_of}" + (f", {wanted.approved}" if wanted.approved else "")
    return f"nothing told surveil what to run, so it chose by {wanted.rule}" if wanted.rule else ""


def _new_job(build: Build, position: int, spec: JobSpec, carried: Carried | None, now: int) -> Job:
    spec = _with_group(spec, build)
    job = Job(
        id=f"{build.id}/{spec.name}", build=build.id, position=position, repo=build.repo, spec=spec, created_at=now,
        state=Status.QUEUED if _is_free(spec) else Status.BLOCKED, reason=_waits_for(spec.needs),
    )  # fmt: skip
    if build.awaits_approval and job.state == Status.QUEUED:
        job = replace(job, state=Status.HELD, reason=AWAITS_APPROVAL)
    if carried is not None:
        return replace(job, state=Status.PASSED, reason=carried.reason, outputs=carried.outputs, finished_at=now)
    return job


def _with_group(spec: JobSpec, build: Build) -> JobSpec:
    """The name of a job's concurrency group may depend on its commit, which the pipeline file does not know."""
    if "${{" not in spec.concurrency:
        return spec
    name = fill_in(spec.concurrency, facts_of(replace(spec, needs=()), commit_of(build), _nobody), Room())
    return replace(spec, concurrency=name[:GROUP_CHARACTERS_MAX])


def _nobody(name: str) -> tuple[JobSpec, Need]:
    raise AssertionError(f"{name} is asked for before anything ran")


def _is_free(spec: JobSpec) -> bool:
    """Whether nothing is to be asked before it is queued, and nothing follows from that."""
    return not spec.needs and spec.when in {"passed", "always"} and not spec.cancel_superseded


def _give_way(state: State, wanted: BuildWanted, now: int) -> None:
    """Let go of builds of older commits of the same ref that nobody approved, and nobody should any more."""
    if wanted.retry_of is not None or wanted.event not in {"push", "pull_request"}:
        return
    reason = f"build {state.next_build} is of a newer commit of {wanted.ref}"
    for older in list(state.awaiting.get((wanted.repo, wanted.ref), ())):
        for job_id in state.builds[older].jobs:
            job = state.jobs[job_id]
            if job.state not in VERDICTS:
                cancel(state, job, reason, now)
        fold(state, older, now)
        forget_if_settled(state, older)


def approve(state: State, wanted: ApprovalWanted, now: int) -> None:
    """Let an untrusted build be run, once and for this commit alone."""
    build = state.builds.get(wanted.build)
    if build is None or not build.awaits_approval:
        return
    state.put(replace(build, state=Status.QUEUED, reason=wanted.by, approved=wanted.by), now)
    for job_id in build.jobs:
        job = state.jobs[job_id]
        if job.state == Status.HELD:
            state.put(replace(job, state=Status.QUEUED, reason=wanted.by), now)
    spread(state, build.id, now)
    forget_if_settled(state, build.id)  # Its conditions may all be false.


def _waits_for(needs: tuple[str, ...]) -> str:
    return f"waits for {', '.join(needs)}" if needs else ""


def spread(state: State, build_id: int, now: int) -> None:
    """Let the jobs of a build follow from each other until nothing moves, then say how the build stands. What that ends
    in earlier builds is followed there as well.
    """
    ahead = [build_id]
    while ahead:
        here = ahead.pop()
        if here not in state.builds:
            continue  # Two jobs ended something in it, and the first settled it.
        ahead += _follow(state, here, now)
        fold(state, here, now)
        if here != build_id:
            forget_if_settled(state, here)


def _follow(state: State, build_id: int, now: int) -> list[int]:
    """Let the jobs of a build follow from each other; returns the earlier builds in which jobs were ended by that."""
    touched: list[int] = []
    moved = not state.builds[build_id].awaits_approval
    while moved:
        moved = False
        for job_id in list(state.blocked_of.get(build_id, ())):
            following = _unblocked(state, state.jobs[job_id], now)
            if following is not None:
                state.put(following, now)
                moved = True
                if following.state == Status.QUEUED:
                    touched += supersede(state, following, now)
    return touched


def _unblocked(state: State, job: Job, now: int) -> Job | None:
    """The job as its needs and its condition make it, or None while one of its needs is still open."""
    if any(state.jobs[f"{job.build}/{name}"].state not in VERDICTS for name in job.spec.needs):
        return None
    commit, look = commit_of(state.builds[job.build]), looking(state, job)
    status, reason = whether(job.spec, commit, look)
    return replace(job, state=status, reason=reason, finished_at=None if status == Status.QUEUED else now)


def commit_of(build: Build) -> Commit:
    """What the jobs of a build may know of its commit."""
    return Commit(event=build.event, repo=build.repo, ref=build.ref, sha=build.sha, paths=build.paths)


def looking(state: State, job: Job) -> Look:
    """How a job sees the others of its build."""

    def look(name: str) -> tuple[JobSpec, Need]:
        other = state.jobs[f"{job.build}/{name}"]
        outputs = {output.name: output.value for output in other.outputs}
        return other.spec, Need(
            state=other.state.value, tolerated=other.counts_as != other.state, attempt=other.decided_by, outputs=outputs
        )

    return look


def taken(state: State, job: Job) -> tuple[TakenArtifact, ...]:
    """The artifacts that a job takes whose needs have ended, each of the attempt whose verdict counts."""
    look = looking(state, job)
    return decided(job.spec.artifacts_from, {name: look(name)[1] for name in job.spec.needs})


def fold(state: State, build_id: int, now: int) -> None:
    """Say how the build stands, as its jobs make it; enough where no job has got its verdict."""
    build = state.builds[build_id]
    status = _status_of(state.standing.get(build_id, {}))
    if status == build.state:
        return
    started_at = build.started_at
    if started_at is None and status == Status.RUNNING:
        started_at = now
    if status not in VERDICTS:
        state.put(replace(build, state=status, started_at=started_at), now)
        return
    jobs = [state.jobs[job_id] for job_id in build.jobs]
    culprit = next((job for job in jobs if job.counts_as == status and status != Status.PASSED), None)
    reason = _with_tolerated(build.reason, jobs) if culprit is None else f"{culprit.spec.name}: {culprit.reason}"
    state.put(replace(build, state=status, reason=reason, started_at=started_at, finished_at=now), now)


def _with_tolerated(reason: str, jobs: Sequence[Job]) -> str:
    """A passed build's reason: what failed in it all the same, because it may."""
    names = [job.spec.name for job in jobs if job.counts_as != job.state]
    if not names:
        return reason
    more = f" and {len(names) - TOLERATED_SHOWN_MAX} more" if len(names) > TOLERATED_SHOWN_MAX else ""
    tolerated = f"without {', '.join(names[:TOLERATED_SHOWN_MAX])}{more}, which may fail"
    return f"{reason}; {tolerated}" if reason else tolerated


def _status_of(standing: Mapping[Status, int]) -> Status:
    """One state for many: open ones first, then the worst verdict; a failure is known to be the commit's, so it
    outweighs an error.
    """
    if Status.RUNNING in standing:
        return Status.RUNNING
    still_open = standing.keys() - VERDICTS
    if still_open and still_open <= {Status.HELD, Status.BLOCKED}:
        return Status.HELD  # What is blocked while nothing runs waits for what is held.
    if still_open:
        return Status.RUNNING if len(still_open) < len(standing) else Status.QUEUED
    for verdict in (Status.FAILED, Status.ERRORED, Status.CANCELLED):
        if verdict in standing:
            return verdict
    return Status.SKIPPED if standing.keys() == {Status.SKIPPED} else Status.PASSED


def forget_if_settled(state: State, build_id: int) -> None:
    """Drop a build from memory once it has its verdict and none of its attempts takes a slot any more."""
    build = state.builds.get(build_id)
    if build is None or build.state not in VERDICTS:
        return
    for job_id in build.jobs:
        job = state.jobs[job_id]
        for number in range(1, job.attempt + 1):
            attempt = state.attempts.get((job_id, number))
            if attempt is not None and attempt.id in state.leases:
                return
    state.forget(build)
