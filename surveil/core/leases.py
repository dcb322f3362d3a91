"""Time that runs out: runners that fall silent, leases that end, and every reason to doubt ourselves before we
doubt a runner.

What belongs here: what is believed when a deadline passes. What does not: what moves deadlines (pool), and what a loss
means for the job (attempts).
"""

from __future__ import annotations

from typing import assert_never

from surveil.core.attempts import end_lingering, lose
from surveil.core.journal import about_dispatcher, seconds
from surveil.core.model import OPEN, Attempt, AttemptState, Runner
from surveil.core.policy import Policy
from surveil.core.state import Parting, Session, State
from surveil.frozen import replace


def expire(state: State, now: int, policy: Policy) -> None:
    """Believe what the deadlines say, unless so many say it together that the fault is more likely ours."""
    due = state.silences.next()
    if due is not None and due <= now and _breaks(state, now, policy):
        _wait_one_more_lease(state, now, policy)
    for key in state.silences.take_due(now):
        session, runner = state.sessions.get(key), state.runners[key]
        if session is not None:
            session.silent = True
        state.roomy.pop(key, None)
        if runner.online:
            seen_at = runner.seen_at if session is None else session.heard_at
            gone = replace(runner, online=False, seen_at=seen_at)
            state.put(gone, now, _departure(state, runner, now, policy))
    # One by one: what becomes of one attempt may settle its build, and with it the next that is due.
    while (attempt_id := state.leases.pop_due(now)) is not None:
        attempt = state.attempts[attempt_id]
        if attempt.state in OPEN:
            session = state.sessions.get(attempt.runner)
            by_a_person = session is not None and session.parting in {Parting.GOODBYE, Parting.REVOKED}
            # What its runner was not told says nothing about the job.
            untold = attempt_id in state.untold
            blamed = not by_a_person and not untold
            lose(state, attempt, _silence(state, attempt, now), now, policy, blamed=blamed)
        else:
            end_lingering(state, attempt, now)


def recover(state: State, now: int, policy: Policy) -> None:
    """After a restart of ours: nobody loses a lease for our absence, and unanswered assignments are said again."""
    state.recovered_at = now
    state.note(about_dispatcher("started", f"this is its start number {state.identity.epoch}", now))
    if state.runners:
        # Of what was cancelled before nobody knows whether it has ended; but no lease of before is longer than this.
        state.groups.shut_until_at = now + policy.lease_ms + policy.margin_ms
    until_at = now + policy.lease_ms + policy.margin_ms + policy.restart_grace_ms
    for attempt in state.attempts.values():
        if attempt.state in OPEN:
            state.leases.set(attempt.id, until_at)
        if attempt.state == AttemptState.ASSIGNED:
            state.repeats.set(attempt.id, now + policy.answer_ms)
    # The clock may have been set back while we were away; no probation and no back-off is that long.
    for runner in list(state.runners.values()):
        if runner.online:
            state.silences.set(runner.id, until_at)
        if runner.probation_at is not None:
            probation_at = min(runner.probation_at, now + policy.probation_ms)
            state.put(replace(runner, probation_at=probation_at), now)
            state.probations.set(runner.id, probation_at)
    for job in state.jobs.values():
        if job.id in state.ready.waiting:
            longest_at = now + policy.retry_ms * 4**policy.errored_max
            state.ready.waiting.set(job.id, min(job.not_before_at, longest_at))


def stall(state: State, gap_ms: int, now: int) -> None:
    """We were away: every deadline moves by as much, so that what waits in the sockets is heard first."""
    sentence = f"it was away for {seconds(gap_ms)}, and waits for everybody as much longer"
    state.note(about_dispatcher("stalled", sentence, now))
    for deadlines in (state.leases, state.repeats):
        deadlines.shift(gap_ms)
    state.silences.shift(gap_ms)
    for session in state.sessions.values():
        session.heard_at += gap_ms
        session.trusted_until_at += gap_ms
        if session.doubted_at is not None:
            session.doubted_at += gap_ms


def _breaks(state: State, now: int, policy: Policy) -> bool:
    """Whether so many runners are missed at once that we suspect ourselves; once in three leases at the most.

    A connection that closed counts like silence: where all close together, it was the network before us, or a proxy,
    and a crowd takes longer to come back than one runner does.
    """
    if state.breaker_at is not None and now - state.breaker_at <= 3 * policy.lease_ms:
        return False
    quiet_since = now - (policy.lease_ms + policy.margin_ms - policy.heartbeat_ms)
    expected = [session for session in state.sessions.values() if _is_expected(session)]
    missed = sum(session.parting == Parting.CLOSED or session.heard_at <= quiet_since for session in expected)
    return missed >= policy.breaker_runners and missed * 100 >= len(expected) * policy.breaker_percent


def _wait_one_more_lease(state: State, now: int, policy: Policy) -> None:
    state.breaker_at = now
    until_at = now + policy.lease_ms
    for key, session in state.sessions.items():
        if not _is_expected(session):
            continue
        state.silences.set(key, max(until_at, state.silences.get(key) or 0))
        for attempt in state.attempts_of(key):
            state.leases.set(attempt.id, max(until_at, state.leases.get(attempt.id) or 0))
    reason = "most runners were missed at once, so the fault may be here: their leases run one more time"
    state.note(about_dispatcher("doubtful", reason, now))


def _silence(state: State, attempt: Attempt, now: int) -> str:
    session = state.sessions.get(attempt.runner)
    if session is None:
        return f"runner {attempt.runner_name} {_missing(state, now)}"
    if attempt.incarnation < session.incarnation and _is_here(session, now):
        held_for = f"{seconds(now - attempt.assigned_at)} after it was given"
        return f"runner {attempt.runner_name} restarted and no longer had it {held_for}"
    if attempt.id in state.untold and _is_here(session, now):
        return f"runner {attempt.runner_name} does not have it, and is not told again: {state.untold[attempt.id]}"
    left = f"runner {attempt.runner_name} {session.parting.value}"
    if session.parting == Parting.REVOKED:
        return left
    ago = f"{seconds(now - session.heard_at)} ago"
    if session.parting == Parting.CLOSED:
        return f"{left} and has not come back; it was last heard {ago}"
    return f"{left} {ago}"


def _departure(state: State, runner: Runner, now: int, policy: Policy) -> str:
    """Why a runner counts as gone, for the journal."""
    session = state.sessions.get(runner.id)
    if session is None:
        return f"it {_missing(state, now)}"
    silent_ms = now - session.heard_at
    match session.parting:
        case Parting.NONE:
            missed = silent_ms // policy.heartbeat_ms
            return f"nothing was heard of it for {seconds(silent_ms)}: {missed} heartbeats missed"
        case Parting.CLOSED:
            return f"its connection closed and it has not come back; it was last heard {seconds(silent_ms)} ago"
        case Parting.GOODBYE:
            return f"it {session.parting.value}"
        case Parting.REVOKED:
            return f"it {session.parting.value}: {runner.cordoned}"
        case _:
            assert_never(session.parting)


def took_its_leave(reason: str) -> bool:
    """Whether a runner that counts as gone was expected to, by the journal's word."""
    return reason.startswith((f"it {Parting.GOODBYE.value}", f"it {Parting.REVOKED.value}"))


def _missing(state: State, now: int) -> str:
    return f"has not come back since the dispatcher restarted {seconds(now - state.recovered_at)} ago"


def _is_expected(session: Session) -> bool:
    """Whether we still wait for a runner's next word: it did not take its leave, and its time has not run out."""
    return session.parting in {Parting.NONE, Parting.CLOSED} and not session.silent


def _is_here(session: Session, now: int) -> bool:
    """Whether a runner still speaks to us: if so, it would have renewed what it holds."""
    return session.connected and session.parting == Parting.NONE and now < session.trusted_until_at
