"""The life of one attempt on a runner: from its acceptance to the moment when nothing of it is left.

What belongs here: what the runner's mind does with a single held attempt. What does not: the conversation
with the dispatcher as a whole, and the clock (run).
"""

from __future__ import annotations

from zlib import crc32

from surveil.core import run_verdict as verdict
from surveil.core.model import AttemptId
from surveil.core.run_events import (
    Collect,
    Collected,
    Effect,
    Ended,
    Forget,
    FoundAttempt,
    Kill,
    Prepare,
    Send,
    SetLease,
    Signal,
    Start,
    TombstoneFailed,
    WriteTombstone,
)
from surveil.core.run_model import HELD_LIMIT, Ending, HeldAttempt, Phase, RunnerPolicy, RunState
from surveil.frozen import replace
from surveil.protocol import Accepted, Assign, Finished, Progress, Rejected, StepReport


def put(state: RunState, held: HeldAttempt) -> HeldAttempt:
    """Keep the newest record of an attempt; the one door through which attempts change."""
    state.held[held.id] = held
    return held


def jitter(state: RunState, what: str, ceiling: int) -> int:
    """A number from 0 to `ceiling` - 1 that differs between runners and occasions, and is the same when asked
    again.
    """
    return crc32(f"{state.name}/{state.incarnation}/{what}".encode()) % max(1, ceiling)


# ---- beginning ---------------------------------------------------------------------------------------------


def assign(state: RunState, message: Assign, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Answer an order, always: taken, or refused with a sentence. Either way its tombstone is on disk first."""
    attempt: AttemptId = (message.job, message.attempt)
    sent_at = state.sent_at.get(message.anchor) if message.incarnation == state.incarnation else None
    held = state.held.get(attempt)
    if held is not None and not held.open:
        return say_finished(state, held, now, policy)
    accepted = Send(message=Accepted(job=message.job, attempt=message.attempt))
    if held is None and not state.welcomed:
        # Only the `Welcome` says how long a lease is; it is late or lost. The order will be said again.
        return []
    if held is not None:
        return [accepted, *([] if sent_at is None else renew(state, held, sent_at + state.lease_ms, now))]
    reason = _why_not(state, message, sent_at, now)
    effects: list[Effect] = []
    if message.attempt > state.tombstones.get(message.job, 0):
        state.bury(message.job, message.attempt)
        effects.append(WriteTombstone(id=attempt, assign=message if reason is None else None))
    if reason is not None or sent_at is None:
        rejected = Rejected(job=message.job, attempt=message.attempt, reason=reason or "")
        return [*effects, Send(message=rejected)]
    return [*effects, accepted, *_accept(state, message, sent_at + state.lease_ms, now, policy)]


def _why_not(state: RunState, message: Assign, sent_at: int | None, now: int) -> str | None:
    """Why an attempt cannot be taken, as a sentence; None when it can."""
    had = state.tombstones.get(message.job, 0)
    if message.incarnation != state.incarnation:
        return f"the order is for the runner's start {message.incarnation}, and this is {state.incarnation}"
    if sent_at is None or sent_at + state.lease_ms <= now:
        return "the order came too late: its first lease is already over"
    if message.attempt <= had:
        return f"the runner has already had attempt {had} of this job"
    if state.drains:
        return "the runner is draining"
    if state.disk_low:
        return f"the runner's disk is nearly full ({state.disk_free_mib} MiB free)"
    if state.busy >= state.slots:
        return f"all {state.slots} slots of the runner are taken"
    if len(state.held) >= HELD_LIMIT:
        return f"the runner waits for {len(state.held)} results to be taken from it"
    return None


def tombstone_failed(state: RunState, event: TombstoneFailed) -> list[Effect]:
    """The disk takes nothing: refuse the order. Our memory is tombstone enough, as the order dies with our
    incarnation.
    """
    state.held.pop(event.id, None)
    reason = f"the runner's disk did not take the order: {event.reason}"
    return [Send(message=Rejected(job=event.id[0], attempt=event.id[1], reason=reason))]


def _accept(state: RunState, assign: Assign, lease_until_at: int, now: int, policy: RunnerPolicy) -> list[Effect]:
    timeout_ms = assign.spec.timeout_ms
    held = put(
        state,
        HeldAttempt(
            assign=assign,
            phase=Phase.PREPARING,
            accepted_at=now,
            lease_until_at=lease_until_at,
            end_due_at=now + timeout_ms + policy.overrun_ms if timeout_ms else None,
        ),
    )
    return [Prepare(id=held.id, assign=assign)]


def start(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """The work tree stands: let the keeper begin, unless the attempt was ended meanwhile or should have been."""
    if held.phase is not Phase.PREPARING:
        return []
    fence_at = held.lease_until_at if held.assign.spec.exclusive else None
    if fence_at is not None and fence_at <= now:
        # The machine was away. Not even a first step may begin beside that of whoever has the job now.
        late = Ending(outcome="lost", reason="the attempt's lease ran out before its first step could begin")
        return finish(state, held, now, policy, ending=late)
    timeout_ms = held.assign.spec.timeout_ms
    end_due_at = now + timeout_ms + policy.overrun_ms if timeout_ms else None
    put(state, replace(held, phase=Phase.RUNNING, end_due_at=end_due_at))
    return [Start(id=held.id, assign=held.assign, lease_until_at=fence_at)]


def recover(state: RunState, found: FoundAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Take up again what an earlier incarnation left on disk."""
    timeout_ms = found.assign.spec.timeout_ms
    state.bury(found.assign.job, found.assign.attempt)
    held = put(
        state,
        HeldAttempt(
            assign=found.assign,
            phase=Phase.RUNNING if found.launched else Phase.ACCEPTED,
            accepted_at=found.accepted_at,
            lease_until_at=None,
            end_due_at=max(now, found.accepted_at + timeout_ms) + policy.overrun_ms if timeout_ms else None,
            steps=found.steps,
            log_bytes=found.log_bytes,
        ),
    )
    if found.ended is not None:
        effects = ended(state, held, found.ended, now, policy)
        if found.collected is None:
            return effects
        return collected(state, state.held[held.id], found.collected, now, policy)
    if found.launched and not found.kept:
        lost = Ending(outcome="lost", reason="the runner restarted and found the attempt's processes gone")
        return finish(state, held, now, policy, ending=lost)
    return []


# ---- the dispatcher's trust --------------------------------------------------------------------------------


def fence_at(state: RunState, held: HeldAttempt, policy: RunnerPolicy) -> int | None:
    """When we end the attempt for want of the dispatcher's word, if none comes."""
    if not held.open or held.ending is not None or held.phase is Phase.COLLECTING:
        return None  # Nothing of it runs any more that somebody else might run as well.
    if held.assign.spec.exclusive:
        return held.lease_until_at
    return state.heard_at + policy.alone_ms


def renew(state: RunState, held: HeldAttempt, until_at: int, now: int) -> list[Effect]:
    """The dispatcher trusts us with the attempt until then, also with its end if that has begun. A lease that is over
    already starts nothing.
    """
    if not held.open or until_at <= max(now, held.lease_until_at or 0):
        return []
    was = held.phase
    held = put(state, replace(held, lease_until_at=until_at))
    if was is Phase.ACCEPTED:
        put(state, replace(held, phase=Phase.PREPARING))
        return [Prepare(id=held.id, assign=held.assign)]
    if was is Phase.RUNNING and held.assign.spec.exclusive:
        return [SetLease(id=held.id, until_at=until_at)]
    return []


def revoke(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """The attempt is no longer ours: end it. How it ended decides nothing any more and is said all the same, because
    that tells how long its log is. What has finished is not concerned: it waits for its `Release`.
    """
    if held.revoked or not held.open:
        return []
    held = put(state, replace(held, revoked=True))
    ending = Ending(outcome="cancelled", reason="the dispatcher gave the attempt up")
    return end(state, held, ending, now, policy, grace_ms=0)


def release(state: RunState, held: HeldAttempt, *, stale: bool, now: int, policy: RunnerPolicy) -> list[Effect]:
    """The dispatcher needs no more words about the attempt; unless it is `stale`, the rest of its log is still wanted,
    whatever became of the attempt.
    """
    if held.open:
        # It knows already how the job ended, so whatever still runs here runs for nobody.
        return revoke(state, held, now, policy)
    if stale:
        return forget(state, held)
    if held.released:
        return []
    held = put(state, replace(held, released=True, forget_at=now + policy.released_log_ms))
    return forget_if_done(state, held)


# ---- ending ------------------------------------------------------------------------------------------------


def end(
    state: RunState, held: HeldAttempt, ending: Ending, now: int, policy: RunnerPolicy, *, grace_ms: int
) -> list[Effect]:
    """End an attempt from our side. The first reason stays; a shorter grace than before is passed on."""
    if not held.open:
        return []
    if held.draft is not None:
        return _report(state, held, verdict.uncollected(held.draft, held.assign.spec, ending), now, policy)
    held = put(state, replace(held, ending=held.ending or ending))
    if held.phase is not Phase.RUNNING:
        return finish(state, held, now, policy, ending=held.ending or ending)
    end_due_at = now + grace_ms + policy.ending_ms
    if held.end_due_at is not None:
        end_due_at = min(held.end_due_at, end_due_at)
    put(state, replace(held, end_due_at=end_due_at))
    return [Signal(id=held.id, grace_ms=grace_ms)]


def overrun(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """The attempt should have ended by now: kill its keeper, and if even that brings no end, declare one."""
    if held.draft is not None:
        return _collecting_is_late(state, held, held.draft, now, policy)
    late = Ending(outcome="errored", reason="the attempt did not end when its time was up, and was killed")
    if held.phase is not Phase.RUNNING or held.killed:
        return finish(state, held, now, policy, ending=held.ending or late)
    put(state, replace(held, killed=True, ending=held.ending or late, end_due_at=now + policy.overrun_ms))
    return [Kill(id=held.id)]


def ended(state: RunState, held: HeldAttempt, event: Ended, now: int, policy: RunnerPolicy) -> list[Effect]:
    """The keeper wrote down how the attempt ended. Only an end that we brought about gets our words for it.

    It is said when all is collected that the job asked for, unless we ended the attempt ourselves meanwhile.
    """
    if not held.open or held.draft is not None:
        return []
    outcome, reason = event.outcome, event.reason
    if held.ending is not None and outcome in {"cancelled", "lost"}:
        outcome, reason = held.ending.outcome, held.ending.reason
    held = put(state, replace(held, steps=event.steps, log_bytes=max(held.log_bytes, event.log_bytes)))
    report = verdict.of_steps(event, outcome, reason)
    if not verdict.collects(held.assign.spec, outcome):
        return _report(state, held, report, now, policy)
    if held.ending is not None:
        return _report(state, held, verdict.uncollected(report, held.assign.spec, held.ending), now, policy)
    due_at = now + policy.collecting_ms
    held = put(state, replace(held, phase=Phase.COLLECTING, draft=report, end_due_at=due_at))
    return [*say_steps(state, held), Collect(id=held.id, assign=held.assign, outcome=outcome)]


def collected(state: RunState, held: HeldAttempt, event: Collected, now: int, policy: RunnerPolicy) -> list[Effect]:
    """What is to be kept of it is kept: now say what its steps came to."""
    if held.draft is None:
        return []
    return _report(state, held, verdict.after_collecting(held.draft, event), now, policy)


def _collecting_is_late(
    state: RunState, held: HeldAttempt, draft: Finished, now: int, policy: RunnerPolicy
) -> list[Effect]:
    if not state.welcomed:
        # Nobody is there to take it; that is not its fault, and it goes on when somebody is.
        put(state, replace(held, end_due_at=now + policy.collecting_ms))
        return []
    late = Ending(outcome="errored", reason=f"this took longer than {policy.collecting_ms // 60_000} minutes")
    return _report(state, held, verdict.uncollected(draft, held.assign.spec, late), now, policy)


def finish(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy, *, ending: Ending) -> list[Effect]:
    """End an attempt for which no keeper can speak."""
    if not held.open:
        return []
    finished_after_ms = max(0, now - held.accepted_at)
    steps = tuple(verdict.closed(step, finished_after_ms) for step in held.steps)
    report = Finished(
        job=held.assign.job,
        attempt=held.assign.attempt,
        outcome=ending.outcome,
        reason=ending.reason,
        exit_code=None,
        started_after_ms=next((s.started_after_ms for s in steps if s.started_after_ms is not None), None),
        finished_after_ms=finished_after_ms,
        log_bytes=held.log_bytes,
        steps=steps,
        blameless=ending.blameless,
    )
    return _report(state, replace(held, steps=steps), report, now, policy)


def _report(state: RunState, held: HeldAttempt, report: Finished, now: int, policy: RunnerPolicy) -> list[Effect]:
    done = replace(held, phase=Phase.FINISHED, draft=None, finished=report, end_due_at=None, repeat_at=now, repeats=0)
    held = put(state, done)
    return say_finished(state, held, now, policy)


def say_finished(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Report the result, now and again until the dispatcher says that it has it."""
    if held.finished is None or not held.answerable or not state.welcomed:
        return []
    ceiling = min(policy.finished_max_ms, policy.finished_ms << min(held.repeats, 16))
    wait_ms = ceiling // 2 + jitter(state, f"{held.id}/{held.repeats}", ceiling // 2)
    put(state, replace(held, repeat_at=now + wait_ms, repeats=held.repeats + 1))
    return [Send(message=held.finished)]


def say_steps(state: RunState, held: HeldAttempt) -> list[Effect]:
    """Tell how far the attempt is, if it has begun and anybody listens."""
    if not held.steps or not held.open or not state.welcomed or held.revoked:
        return []
    return [Send(message=Progress(job=held.assign.job, attempt=held.assign.attempt, steps=held.steps))]


def steps_changed(state: RunState, held: HeldAttempt, steps: tuple[StepReport, ...]) -> list[Effect]:
    """A step began or ended."""
    if not held.open or steps == held.steps:
        return []
    return say_steps(state, put(state, replace(held, steps=steps)))


def log_grew(state: RunState, held: HeldAttempt, log_bytes: int) -> list[Effect]:
    """More of the log is on our disk. A finished attempt has said how long its log is, and nothing moves
    that.
    """
    if held.open:
        put(state, replace(held, log_bytes=max(held.log_bytes, log_bytes)))
    return []


def log_kept(state: RunState, held: HeldAttempt, upto: int) -> list[Effect]:
    """More of the log is on the dispatcher's disk."""
    return forget_if_done(state, put(state, replace(held, kept_bytes=max(held.kept_bytes, upto))))


def log_resumed(state: RunState, held: HeldAttempt, at: int) -> list[Effect]:
    """So much of the log is on the dispatcher's disk, which may be less than it once was."""
    return forget_if_done(state, put(state, replace(held, kept_bytes=at)))


def keeper_lost(state: RunState, held: HeldAttempt, log_bytes: int, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Nobody can say any more how the attempt would have ended; that is never taken for a verdict."""
    if held.draft is not None:
        return []  # It had done its work.
    log_grew(state, held, log_bytes)
    lost = Ending(outcome="lost", reason="the process that watched over the attempt died")
    return finish(state, state.held[held.id], now, policy, ending=held.ending or lost)


def tick(state: RunState, held: HeldAttempt, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Do what is due for one attempt."""
    if held.forget_at is not None and held.forget_at <= now:
        return forget(state, held)
    if not held.open:
        return say_finished(state, held, now, policy) if held.repeat_at <= now else []
    if held.end_due_at is not None and held.end_due_at <= now:
        return overrun(state, held, now, policy)
    fenced_at = fence_at(state, held, policy)
    if fenced_at is not None and fenced_at <= now:
        ending = Ending(outcome="lost", reason="the dispatcher was not heard of until the attempt's lease ran out")
        return end(state, held, ending, now, policy, grace_ms=0)
    return []


def forget_if_done(state: RunState, held: HeldAttempt) -> list[Effect]:
    """Delete an attempt of which the dispatcher has all that it wants."""
    if held.open or held.answerable or held.kept_bytes < held.log_bytes:
        return []
    return forget(state, held)


def forget(state: RunState, held: HeldAttempt) -> list[Effect]:
    """Delete an attempt."""
    del state.held[held.id]
    return [Forget(id=held.id)]
