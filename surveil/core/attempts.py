"""What becomes of an attempt: accepted, refused, finished, lost, cancelled; and of its job in consequence.

What belongs here: each way in which one try ends, and whether there is another. What does not: how a loss is
noticed (leases, pool) and where the next try goes (schedule). Every function takes the current attempt of a
job; asking whether it is current is the caller's fence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from surveil.core.builds import forget_if_settled, spread
from surveil.core.ending import cancel_other_cells
from surveil.core.journal import seconds
from surveil.core.model import GIVEN_UP, OPEN, VERDICTS, Attempt, AttemptState, Job, LogEnd, Status
from surveil.core.outputs import excess
from surveil.core.policy import Policy
from surveil.core.state import State
from surveil.frozen import replace
from surveil.protocol import Finished, JobOutput, Outcome, Progress, StepReport

_ENDED: Final[Mapping[Outcome, AttemptState]] = {
    "passed": AttemptState.PASSED,
    "failed": AttemptState.FAILED,
    "errored": AttemptState.ERRORED,
    "lost": AttemptState.LOST,
    "cancelled": AttemptState.LOST,
}
"""What each outcome makes of an attempt that decides."""
RESTORED: Final = "the dispatcher was started from a backup that was made while this attempt ran"


def is_current(state: State, attempt: Attempt) -> bool:
    """Whether this try still decides about its job: it is open, or it was given up and no other try has begun."""
    job = state.jobs[attempt.job]
    if attempt.number != job.attempt:
        return False
    if attempt.state in OPEN:
        return True
    # What its runner itself gave up or refused never comes back: an older word that says so only arrives late.
    if attempt.state != AttemptState.LOST or attempt.released or job.state not in {Status.QUEUED, Status.HELD}:
        return False
    # Its lease was over, and so were its processes, before another job of its group was handed out.
    return not job.spec.concurrency or state.groups.holder((job.repo, job.spec.concurrency)) is None


def adopt(state: State, attempt: Attempt, now: int) -> Attempt:
    """Believe a runner that still has an attempt: it is accepted, and if it was given up, it is not lost after all."""
    job = state.jobs[attempt.job]
    if attempt.state == AttemptState.LOST:
        early = tuple(name for name in job.lost_early if name != attempt.runner)
        back = replace(
            job, state=Status.RUNNING, reason="", lost=max(0, job.lost - 1), lost_early=early, not_before_at=0
        )
        state.put(back, now)
        away = "" if attempt.finished_at is None else f" {seconds(now - attempt.finished_at)} after it was given up"
        reason = f"runner {attempt.runner_name} came back with it{away}"
        # It may have been given up before its answer came: whoever has it has accepted it.
        accepted_at = now if attempt.accepted_at is None else attempt.accepted_at
        again = replace(attempt, state=AttemptState.RUNNING, reason=reason, accepted_at=accepted_at, finished_at=None)
        state.put(again, now)
        spread(state, job.build, now)
    elif attempt.state == AttemptState.ASSIGNED:
        state.repeats.discard(attempt.id)
        state.untold.pop(attempt.id, None)
        state.put(replace(attempt, state=AttemptState.RUNNING, accepted_at=now), now)
    return state.attempts[attempt.id]


def progress(state: State, attempt: Attempt, said: Progress, now: int) -> None:
    """Note how the steps of a running attempt stand."""
    attempt = adopt(state, attempt, now)
    if attempt.steps != said.steps:
        started_at = _at(attempt, _first_start(said.steps), now)
        state.put(replace(attempt, steps=said.steps, started_at=started_at), now)


def finish(state: State, attempt: Attempt, said: Finished, now: int, policy: Policy) -> None:
    """Record what the attempt really did, and what that means for its job."""
    attempt = adopt(state, attempt, now)
    if wrong := excess(said.outputs):
        # Its word about the rest is worth as little.
        reason = f"runner {attempt.runner_name} is not to be believed: {wrong}"
        said = replace(said, outcome="errored", reason=reason, blameless=False)
    if said.outcome in {"passed", "failed"}:
        # Its steps ran, so the commit was there, and with it most of the repository's next one.
        state.warm_up(attempt.runner, state.jobs[attempt.job].repo)
    known = replace(
        attempt, state=_ENDED[said.outcome], reason=said.reason or attempt.reason, exit_code=said.exit_code,
        log_bytes=said.log_bytes, steps=said.steps, isolation=said.isolation,
        started_at=_at(attempt, said.started_after_ms, now), finished_at=_at(attempt, said.finished_after_ms, now),
    )  # fmt: skip
    _judge_runner(state, known, said, now, policy)
    match said.outcome:
        case "passed":
            _conclude(state, known, Status.PASSED, said.reason, now, outputs=said.outputs)
        case "failed":
            _fail(state, known, now, outputs=said.outputs)
        case "errored":
            _err(state, known, now, policy)
        case "lost":
            lose(state, replace(known, released=True), _own_loss(attempt, said), now, policy)
        case "cancelled":
            # We did not ask for its end, else its job would not be open: the machine's owner took it away.
            lose(state, replace(known, released=True), _own_loss(attempt, said), now, policy, blamed=False)


def _own_loss(attempt: Attempt, said: Finished) -> str:
    """A runner's own word that nobody will know how the attempt would have ended."""
    return f"runner {attempt.runner_name} gave it up after {seconds(said.finished_after_ms)}: {said.reason}"


def refuse(state: State, attempt: Attempt, reason: str, now: int) -> None:
    """Queue the job again: its runner is certain not to have begun this attempt, so nothing was lost."""
    sentence = f"runner {attempt.runner_name} refused it: {reason}"
    refused = replace(attempt, state=AttemptState.LOST, reason=sentence, finished_at=now, released=True)
    state.put(refused, now)
    # What it had to wait for is over; by a clock that was set back since, it is not.
    job = replace(state.jobs[attempt.job], state=Status.QUEUED, reason=sentence, not_before_at=0)
    state.put(job, now)
    spread(state, state.jobs[attempt.job].build, now)


def withhold(state: State, attempt: Attempt, reason: str, now: int, policy: Policy, *, again: bool) -> None:
    """End an attempt of which its runner was never told, and which says nothing about that one."""
    ended = replace(attempt, state=AttemptState.ERRORED, reason=reason, finished_at=now)
    if again:
        _err(state, ended, now, policy)
    else:
        _conclude(state, ended, Status.ERRORED, reason, now)


def doubt(state: State, attempt: Attempt, reason: str) -> None:
    """Say an attempt no more of which its runner may have been told: it goes with its lease, unless its runner has it.

    Said again for ever, an order that was lost on its way would keep its job and a slot for as long.
    """
    state.repeats.discard(attempt.id)
    state.untold[attempt.id] = reason


def lose(state: State, attempt: Attempt, reason: str, now: int, policy: Policy, *, blamed: bool = True) -> None:
    """Give an attempt up, and do with its job what it asks for in that case.

    The job is not `blamed` where a person ended its runner: that says nothing about what the job does to runners.
    """
    attempt = _with_logged(state, attempt)
    state.put(replace(attempt, state=AttemptState.LOST, reason=reason, finished_at=now), now)
    # What it had to wait for was over when it was handed out; by a clock that was set back since, it is not.
    job = replace(state.jobs[attempt.job], not_before_at=0)
    if blamed:
        job = _blame_job(job, attempt, now, policy)
    early = job.lost_early
    if job.spec.on_runner_loss == "hold":
        _put_job(state, replace(job, state=Status.HELD, reason=f"{reason}; it waits for a person's decision"), now)
    elif job.spec.on_runner_loss == "fail":
        _put_job(state, replace(job, state=Status.ERRORED, reason=reason, finished_at=now), now)
    elif len(early) >= policy.poison_runners:
        sentence = (
            f"{len(early)} runners were lost within {policy.poison_ms // 1000} s of starting it; the last: {reason}"
        )
        _put_job(state, replace(job, state=Status.ERRORED, reason=sentence, finished_at=now), now)
    elif job.lost >= policy.lost_max:
        sentence = f"{job.lost} attempts were lost with their runners; the last: {reason}"
        _put_job(state, replace(job, state=Status.ERRORED, reason=sentence, finished_at=now), now)
    else:
        _put_job(state, replace(job, state=Status.QUEUED, reason=reason), now)


def lose_strays(state: State, now: int, policy: Policy) -> None:
    """Give up every open attempt that is not its job's newest: the store is a backup, and skipped the numbers that
    were handed out since it was made. What became of such an attempt meanwhile nobody here knows.
    """
    for attempt_id in list(state.attempts):
        # What became of one may have ended the next, or have settled its build.
        attempt = state.attempts.get(attempt_id)
        if attempt is not None and attempt.state in OPEN and attempt.number != state.jobs[attempt.job].attempt:
            lose(state, attempt, RESTORED, now, policy, blamed=False)
    _outwait_the_unknown(state, now, policy)


def _outwait_the_unknown(state: State, now: int, policy: Policy) -> None:
    """Let the jobs that must not run twice wait where numbers were skipped: an attempt that was handed out since the
    backup is known to nobody here, and its lease may still be good.
    """
    trusted_until_at = now + policy.lease_ms + policy.margin_ms
    for job in list(state.jobs.values()):
        skipped = job.attempt and (job.id, job.attempt) not in state.attempts
        if skipped and job.spec.exclusive and job.state not in VERDICTS:
            state.put(replace(job, not_before_at=trusted_until_at), now)


def _blame_job(job: Job, attempt: Attempt, now: int, policy: Policy) -> Job:
    """Count a lost runner against its job, and more so one that was lost right after it began."""
    early = job.lost_early
    if attempt.accepted_at is not None and now - attempt.accepted_at < policy.poison_ms and attempt.runner not in early:
        early = (*early, attempt.runner)
    return replace(job, lost=job.lost + 1, lost_early=early)


def end_log(state: State, runner: str, said: Finished) -> None:
    """Learn how long the log of an attempt is that was given up: its runner has just said its last word about it."""
    key = (said.job, said.attempt)
    attempt = state.attempts.get(key) or state.past.get(key)
    if attempt is None:
        # Whose attempt it was, and whether this word is the first, only the store can tell.
        state.end_log(LogEnd(job=said.job, number=said.attempt, runner=runner, log_bytes=said.log_bytes))
    elif attempt.runner == runner and attempt.state in GIVEN_UP and not attempt.released:
        state.amend(replace(attempt, released=True, log_bytes=said.log_bytes))


def end_lingering(state: State, attempt: Attempt, now: int) -> None:
    """Free the slot of a cancelled attempt: its runner is done with it, or gone."""
    state.put(_with_logged(state, attempt), now)
    state.leave(attempt)
    forget_if_settled(state, state.jobs[attempt.job].build)


def _with_logged(state: State, attempt: Attempt) -> Attempt:
    """An attempt that is given up, with what its runner last said of its log, unless it said where that ends."""
    if attempt.released:
        return attempt
    return replace(attempt, log_bytes=max(attempt.log_bytes, state.logged.get(attempt.id, 0)))


def _put_job(state: State, job: Job, now: int) -> None:
    state.put(job, now)
    spread(state, job.build, now)
    if job.state in VERDICTS:
        forget_if_settled(state, job.build)


def _conclude(
    state: State, attempt: Attempt, verdict: Status, reason: str, now: int, *, outputs: tuple[JobOutput, ...] = ()
) -> None:
    state.put(attempt, now)
    job = replace(state.jobs[attempt.job], state=verdict, reason=reason, finished_at=now, outputs=outputs)
    state.put(job, now)
    if verdict == Status.FAILED:
        cancel_other_cells(state, job, now)
    spread(state, job.build, now)
    forget_if_settled(state, job.build)


def _fail(state: State, attempt: Attempt, now: int, *, outputs: tuple[JobOutput, ...]) -> None:
    job = state.jobs[attempt.job]
    if job.failed >= job.spec.retry:
        _conclude(state, attempt, Status.FAILED, attempt.reason, now, outputs=outputs)
        return
    state.put(attempt, now)
    reason = f"{attempt.reason}; retry {job.failed + 1} of {job.spec.retry}"
    _put_job(state, replace(job, state=Status.QUEUED, failed=job.failed + 1, reason=reason, not_before_at=0), now)


def _err(state: State, attempt: Attempt, now: int, policy: Policy) -> None:
    job = state.jobs[attempt.job]
    errored = job.errored + 1
    state.put(replace(job, errored=errored), now)
    if errored >= policy.errored_max:
        _conclude(state, attempt, Status.ERRORED, attempt.reason, now)
        return
    state.put(attempt, now)
    not_before_at = now + policy.retry_ms * 4 ** (errored - 1)
    job = replace(
        state.jobs[job.id],
        state=Status.QUEUED,
        reason=f"tried again after: {attempt.reason}",
        not_before_at=not_before_at,
    )
    _put_job(state, job, now)


def _judge_runner(state: State, attempt: Attempt, said: Finished, now: int, policy: Policy) -> None:
    """Cordon a runner on which everything errors at once, and trust it again when something does not."""
    runner = state.runners[attempt.runner]
    if said.outcome in {"passed", "failed"}:
        if runner.quick_errors or runner.probation_at is not None:
            state.probations.discard(runner.id)
            cordoned = "" if runner.probation_at is not None else runner.cordoned
            state.put(replace(runner, quick_errors=0, probation_at=None, cordoned=cordoned), now)
    elif said.outcome == "errored" and not said.blameless and said.finished_after_ms < policy.black_hole_ms:
        # A job that errors wherever it is tried says nothing more about a runner than it did the first time.
        blame(state, attempt.runner, said.reason, now, policy, again=state.jobs[attempt.job].errored > 0)
    elif said.outcome in {"lost", "cancelled"} and (session := state.sessions.get(attempt.runner)) is not None:
        # It gave up what it had, most likely because it ends; its next heartbeat says so if it does not.
        session.refusing = True


def blame(state: State, runner_id: str, reason: str, now: int, policy: Policy, *, again: bool = False) -> None:
    """Count a quick error against a runner; enough jobs in a row take it out of the pool until its probation."""
    runner = state.runners[runner_id]
    runner = replace(runner, quick_errors=runner.quick_errors + (not again))
    if runner.quick_errors >= policy.black_hole_failures and (not runner.cordoned or runner.probation_at is not None):
        probation_at = now + policy.probation_ms
        state.probations.set(runner.id, probation_at)
        quick = f"{runner.quick_errors} jobs in a row errored within {seconds(policy.black_hole_ms)} each"
        sentence = f"{quick}; the last: {reason}"
        runner = replace(runner, cordoned=sentence, probation_at=probation_at)
    state.put(runner, now)


def _first_start(steps: tuple[StepReport, ...]) -> int | None:
    return min((step.started_after_ms for step in steps if step.started_after_ms is not None), default=None)


def _at(attempt: Attempt, after_ms: int | None, now: int) -> int | None:
    """The instant, on our clock, of something that a runner counted from its acceptance; never in the future."""
    if after_ms is None:
        return None
    return min(now, (attempt.accepted_at if attempt.accepted_at is not None else now) + max(0, after_ms))
