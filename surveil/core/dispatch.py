"""The dispatcher's mind: what follows from each event. Believe it, spread its consequences, hand out work.

`handle` is pure: the result depends on its arguments alone, and `state` changes through `State.put` only. The
hands call it for each event of a batch, always with a `Tick` at the end, commit what `state.take_changes()`
returns, and only then perform the effects.

What belongs here: which part of the mind an event concerns, and the fence before each word of a runner. What does not:
what that part makes of it (pool, attempts, builds, leases, schedule).
"""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from surveil.core.attempts import (
    adopt,
    blame,
    doubt,
    end_lingering,
    end_log,
    finish,
    is_current,
    lose_strays,
    progress,
    refuse,
    withhold,
)
from surveil.core.builds import approve, forget_if_settled, open_build, spread
from surveil.core.effects import Acknowledge, Effect, SendBack
from surveil.core.ending import cancel
from surveil.core.events import (
    ApprovalWanted,
    BuildWanted,
    CancelWanted,
    Event,
    Recovered,
    RunnerDisconnected,
    RunnerSaid,
    RunnerWanted,
    Stalled,
    Tick,
    UnholdWanted,
    Withheld,
)
from surveil.core.fence import refuse_late_result
from surveil.core.leases import expire, recover, stall
from surveil.core.model import VERDICTS, Attempt, AttemptState, Job, Status
from surveil.core.policy import Policy
from surveil.core.pool import bye, disconnected, heartbeat, hello, order
from surveil.core.schedule import hand_out, probe, repeat
from surveil.core.state import State
from surveil.frozen import replace
from surveil.protocol import Accepted, Bye, Finished, Heartbeat, Hello, Progress, Rejected, Release

Fate: TypeAlias = Literal["recorded", "duplicate", "stale"]


def handle(state: State, event: Event, now: int, policy: Policy) -> list[Effect]:
    """Take one event at the instant `now` (ms) and return what is to be done after the commit.

    Work is handed out by the `Tick` that ends each batch, when everything that came in with it is known.
    """
    match event:
        case RunnerSaid():
            return _hear(state, event, now, policy)
        case RunnerDisconnected():
            disconnected(state, event.runner, now, policy)
            return []
        case BuildWanted():
            return [Acknowledge(mid=event.mid, build=open_build(state, event, now))]
        case CancelWanted():
            _cancel(state, event, now)
            return []
        case UnholdWanted():
            return _unhold(state, event, now, policy)
        case ApprovalWanted():
            approve(state, event, now)
            return []
        case RunnerWanted():
            return order(state, event, now)
        case Withheld():
            _withhold(state, event, now, policy)
            return []
        case Recovered():
            lose_strays(state, now, policy)
            recover(state, now, policy)
            return []
        case Stalled():
            stall(state, event.gap_ms, now)
            return []
        case Tick():
            expire(state, now, policy)
            probe(state, now)
            return repeat(state, now, policy) + hand_out(state, now, policy)
        case _:
            assert_never(event)


def next_deadline(state: State, now: int) -> int | None:
    """When a `Tick` is due even if nothing happens, or None; never before `now`."""
    candidates = (
        state.leases.next(), state.silences.next(), state.repeats.next(),
        state.probations.next(), state.ready.waiting.next(), state.groups.opens_at(now),
    )  # fmt: skip
    due = [at for at in candidates if at is not None]
    return max(now, min(due)) if due else None


def _hear(state: State, event: RunnerSaid, now: int, policy: Policy) -> list[Effect]:
    """Take a runner's word.

    Words about an attempt count only from the runner that has it, and only while it is current.
    """
    said, key = event.message, event.runner
    match said:
        case Hello():
            return hello(state, event, said, now, policy)
        case Heartbeat():
            return heartbeat(state, event, said, now, policy)
        case Bye():
            bye(state, key, said, now, policy)
            return []
        case Finished():
            return _hear_end(state, event, said, now, policy)
        case Accepted() | Progress() | Rejected():
            attempt = state.attempts.get((said.job, said.attempt))
            if attempt is not None and attempt.runner == key and is_current(state, attempt):
                _hear_of(state, attempt, said, now, policy)
            return []
        case _:
            assert_never(said)


def _hear_of(state: State, attempt: Attempt, said: Accepted | Progress | Rejected, now: int, policy: Policy) -> None:
    match said:
        case Accepted():
            # A given-up attempt is taken back by what its runner holds, never by a word that may be older
            # than the loss.
            if attempt.state == AttemptState.ASSIGNED:
                adopt(state, attempt, now)
        case Progress():
            if attempt.state != AttemptState.LOST:
                progress(state, attempt, said, now)
        case Rejected():
            if attempt.state == AttemptState.ASSIGNED:
                refuse(state, attempt, said.reason, now)
                blame(state, attempt.runner, said.reason, now, policy)
                session = state.sessions.get(attempt.runner)
                if session is not None:
                    session.refusing = True
        case _:
            assert_never(said)


def _hear_end(state: State, event: RunnerSaid, said: Finished, now: int, policy: Policy) -> list[Effect]:
    """Record an attempt's end if it decides; and tell its runner in any case that it need not be repeated."""
    attempt = state.attempts.get((said.job, said.attempt))
    if attempt is not None and attempt.runner != event.runner:
        return [_release(event, said, "stale")]
    if attempt is not None and is_current(state, attempt):
        finish(state, attempt, said, now, policy)
        return [_release(event, said, "recorded")]
    refuse_late_result(state, event.runner, said, now)
    end_log(state, event.runner, said)
    if attempt is not None and attempt.id in state.leases:
        end_lingering(state, state.attempts[attempt.id], now)
    # However late it is: `stale` would make the runner throw away a log that is still wanted.
    return [_release(event, said, "duplicate")]


def _release(event: RunnerSaid, said: Finished, fate: Fate) -> SendBack:
    return SendBack(runner=event.runner, via=event.via, message=Release(job=said.job, attempt=said.attempt, fate=fate))


def _cancel(state: State, wanted: CancelWanted, now: int) -> None:
    for job in _jobs_named(state, wanted.build, wanted.names):
        if job.state not in VERDICTS:
            cancel(state, job, wanted.reason, now)
    if wanted.build in state.builds:
        spread(state, wanted.build, now)
        forget_if_settled(state, wanted.build)


def _withhold(state: State, event: Withheld, now: int, policy: Policy) -> None:
    attempt = state.attempts.get((event.job, event.attempt))
    if attempt is not None and attempt.state == AttemptState.ASSIGNED and is_current(state, attempt):
        if event.told:
            doubt(state, attempt, event.reason)
        else:
            withhold(state, attempt, event.reason, now, policy, again=event.again)


def _unhold(state: State, wanted: UnholdWanted, now: int, policy: Policy) -> list[Effect]:
    if wanted.build in state.builds and state.builds[wanted.build].awaits_approval:
        return []  # To let a job be tried again is not to approve what strangers wrote.
    for job in _jobs_named(state, wanted.build, wanted.names):
        if job.state == Status.HELD:
            # All that it may still wait for is a lease that was forgotten with a backup, and no lease is longer.
            not_before_at = min(job.not_before_at, now + policy.lease_ms + policy.margin_ms)
            state.put(replace(job, state=Status.QUEUED, reason=wanted.reason, not_before_at=not_before_at), now)
    if wanted.build in state.builds:
        spread(state, wanted.build, now)
    return []


def _jobs_named(state: State, build_id: int, names: tuple[str, ...]) -> list[Job]:
    build = state.builds.get(build_id)
    if build is None:
        return []
    jobs = [state.jobs[job_id] for job_id in build.jobs]
    return [job for job in jobs if not names or job.spec.name in names]
