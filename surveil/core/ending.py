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
from surveil.protocol import Cancel


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
    if not (failed.spec.fail_fast and failed.spec.matrix) or failed.spec.continue_on_error:
        return
    name = failed.spec.declared_name
    for job_id in state.builds[failed.build].jobs:
        other = state.jobs[job_id]
        if other.spec.matrix and other.spec.declared_name == name and other.state not in VERDICTS:
            cancel(state, other, f"{failed.spec.name} failed, and `fail_fast` ends the other cells", now)


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
