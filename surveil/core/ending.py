"""Jobs that nobody wants any more, and their end: by a person's wish, by the failure of another cell of their matrix,
or because a newer build does the same.

What belongs here: who is ended by what, and the word to the runner. What does not: the end that an attempt comes to by
itself (attempts), and what follows for other jobs (builds).
"""

from __future__ import annotations

from surveil.core.effects import Send
from surveil.core.model import VERDICTS, Attempt, AttemptState, Job, Status
from surveil.core.policy import Policy
from surveil.core.state import State
from surveil.frozen import replace
from surveil.protocol import Cancel, JobSpec


def cancel(state: State, job: Job, reason: str, now: int) -> None:
    """End a job. Its attempt keeps its slot until the runner says that the processes are gone; the word to the runner
    is said by the `Tick` that ends this batch, and again until it is heard.
    """
    attempt = state.attempts.get((job.id, job.attempt))
    if job.state == Status.RUNNING and attempt is not None:
        until_at = state.leases.get(attempt.id)
        assert until_at is not None, f"{job.id} runs without a lease"
        state.put(replace(attempt, state=AttemptState.CANCELLED, reason=reason, finished_at=now), now)
        state.linger(attempt, until_at, now)
    state.put(replace(job, state=Status.CANCELLED, reason=reason, finished_at=now), now)


def cancel_order(attempt: Attempt, reason: str, policy: Policy) -> Send:
    """The word to a runner that an attempt is to end."""
    order = Cancel(job=attempt.job, attempt=attempt.number, grace_ms=policy.cancel_grace_ms, reason=reason)
    return Send(runner=attempt.runner, message=order)


def cancel_other_cells(state: State, failed: Job, now: int) -> None:
    """A cell of a matrix failed for good: where its job says `fail_fast`, the others need not go on."""
    for job_id in state.builds[failed.build].jobs if failed.spec.fail_fast else ():
        other = state.jobs[job_id]
        if other.state not in VERDICTS and ends_cell(failed.spec, other.spec):
            cancel(state, other, fail_fast_words(failed.spec), now)


def ends_cell(failed: JobSpec, other: JobSpec) -> bool:
    """Whether the failure of one job of a build ends another one. A failure that may be is none."""
    cells = failed.matrix and other.matrix and failed.declared_name == other.declared_name
    return bool(cells) and failed.fail_fast and not failed.continue_on_error


def fail_fast_words(failed: JobSpec) -> str:
    """Why the other cells of this one end."""
    return f"{failed.name} failed, and `fail_fast` ends the other cells"


def supersede(state: State, newer: Job, now: int) -> list[int]:
    """A job of a newer build is ready: where it says `cancel_superseded`, those of its group in earlier builds end.
    Returns these builds.
    """
    if not newer.spec.concurrency or not newer.spec.cancel_superseded:
        return []
    reason = f"superseded by {newer.id} in the group `{newer.spec.concurrency}`"
    members = state.groups.members((newer.repo, newer.spec.concurrency))
    older = [state.jobs[job_id] for job_id, build in members.items() if build < newer.build]
    for job in older:
        cancel(state, job, reason, now)
    return list(dict.fromkeys(job.build for job in older))
