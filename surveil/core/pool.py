"""The runners: how they introduce themselves, beat, fall away, and what people order of them.

What belongs here: what a runner's word about itself, and its silence, mean for what it holds. What does not: two
processes with one key (copies), deadlines that pass (leases), and what becomes of an attempt (attempts).
"""

from __future__ import annotations

from surveil.core.attempts import adopt, end_lingering, is_current, lose
from surveil.core.copies import NOTE_EVERY_MS, turn_away
from surveil.core.effects import Effect, Send, SendBack
from surveil.core.events import RunnerOrder, RunnerSaid, RunnerWanted
from surveil.core.fence import turn_back
from surveil.core.journal import about_runner, seconds
from surveil.core.model import OPEN, Attempt, AttemptState, Runner
from surveil.core.policy import Policy
from surveil.core.state import Parting, Session, State
from surveil.errors import ExitCode
from surveil.frozen import replace
from surveil.protocol import Beat, Busy, Bye, Drain, Heartbeat, Held, Hello, Introduce, Ref, Refused, Welcome


def hello(state: State, event: RunnerSaid, said: Hello, now: int, policy: Policy) -> list[Effect]:
    """A runner introduces itself.

    Only a new incarnation proves that what it does not hold is gone; an old word may come late.
    """
    if said.cluster not in {"", state.identity.cluster}:
        return [_of_another(state, event, said)]
    key, known, session = event.runner, state.runners.get(event.runner), state.sessions.get(event.runner)
    away = turn_away(state, event, said, now, policy)
    if away is not None:
        return [away]
    if session is not None and session.incarnation == said.incarnation and said.seq <= session.seq:
        return []
    if state.introductions.is_one_too_many(key, now, policy):
        return [_busy(state, event, now, policy)]
    restarted = known is not None and said.incarnation > known.incarnation
    runner = replace(
        known or Runner(id=key, name=said.name), name=said.name, host=said.host, software=said.software,
        labels=said.labels, slots=said.slots, incarnation=said.incarnation, birth=said.birth, online=True, seen_at=now,
    )  # fmt: skip
    state.put(runner, now, _arrival(known, now))
    if known is not None and known.online:
        _tell_return(state, runner, session, now, restarted=restarted)
    state.cool_down(key)
    state.sessions[key] = Session(incarnation=said.incarnation, seq=said.seq, heard_at=now)
    for repo in said.mirrors:
        state.warm_up(key, repo)
    renewed, revoked = _take_stock(state, key, said.held, now, policy)
    if restarted:
        _lose_absent(state, runner, said.held, now, policy)
    welcome = Welcome(
        cluster=state.identity.cluster, epoch=state.identity.epoch, incarnation=said.incarnation, seq=said.seq,
        heartbeat_ms=policy.heartbeat_ms, lease_ms=policy.lease_ms, bulk_port=state.identity.bulk_port,
        renewed=renewed, revoked=(*revoked, *_over(said.held, renewed)), draining=runner.draining,
    )  # fmt: skip
    return [SendBack(runner=key, via=event.via, message=welcome)]


def heartbeat(state: State, event: RunnerSaid, said: Heartbeat, now: int, policy: Policy) -> list[Effect]:
    """A runner beats: the one thing that renews leases. Whatever it holds that is not its own any more, it is told.

    One whose incarnation is over learns that when it introduces itself.
    """
    key, session = event.runner, state.sessions.get(event.runner)
    if session is None or session.incarnation != said.incarnation:
        return [SendBack(runner=key, via=event.via, message=Introduce(epoch=state.identity.epoch))]
    if said.seq <= session.seq:
        return []
    runner = state.runners[key]
    session.seq, session.heard_at = said.seq, now
    session.connected, session.parting, session.silent = True, Parting.NONE, False
    session.refusing = said.free == 0 and len(said.held) < runner.slots
    session.load_percent, session.disk_free_mib = said.load_percent, said.disk_free_mib
    if not runner.online:
        state.put(replace(runner, online=True, seen_at=now), now, _arrival(runner, now))
    renewed, revoked = _take_stock(state, key, said.held, now, policy)
    beat = Beat(
        epoch=state.identity.epoch, seq=said.seq, renewed=renewed, revoked=revoked, draining=runner.draining,
    )  # fmt: skip
    return [SendBack(runner=key, via=event.via, message=beat)]


def bye(state: State, key: str, said: Bye, now: int, policy: Policy) -> None:
    """A runner stops. If it will be back, its work goes on meanwhile; if not, what it held is lost at once."""
    session = state.sessions.get(key)
    if session is None or session.incarnation != said.incarnation:
        return
    session.connected, session.parting = False, Parting.GOODBYE
    wait_ms = policy.returning_ms if said.returning else 0
    if said.returning:
        _suspect(state, key, f"it said that it would be back within {seconds(wait_ms)}", now)
    state.silences.set(key, now + wait_ms)
    for attempt in state.attempts_of(key):
        if said.returning or not state.jobs[attempt.job].spec.exclusive:
            state.leases.set(attempt.id, now + wait_ms)


def disconnected(state: State, key: str, now: int, policy: Policy) -> None:
    """The system closed a runner's connection: strong evidence, so its leases shrink to the time that a
    reconnection takes.

    Not those of exclusive jobs: their runner trusts its lease to the end, and so must we.
    """
    session = state.sessions.get(key)
    if session is None or not session.connected:
        return
    session.connected, session.parting = False, Parting.CLOSED
    soon_at = now + policy.suspect_ms
    _suspect(state, key, f"its connection closed; it has {seconds(policy.suspect_ms)} to come back", now)
    state.silences.set(key, min(soon_at, state.silences.get(key) or soon_at))
    for attempt in state.attempts_of(key):
        if not state.jobs[attempt.job].spec.exclusive:
            state.leases.set(attempt.id, min(soon_at, state.leases.get(attempt.id) or soon_at))


def order(state: State, wanted: RunnerWanted, now: int) -> list[Effect]:
    """Do what a person wants of a runner."""
    runner = state.runners.get(wanted.runner)
    if runner is None:
        return []
    match wanted.order:
        case RunnerOrder.DRAIN:
            state.put(replace(runner, draining=True), now)
            return [Send(runner=runner.id, message=Drain())]
        case RunnerOrder.CORDON:
            state.probations.discard(runner.id)
            state.put(replace(runner, cordoned=wanted.reason, probation_at=None), now)
        case RunnerOrder.UNCORDON:
            state.probations.discard(runner.id)
            state.put(replace(runner, cordoned="", probation_at=None, draining=False, quick_errors=0), now)
            state.roomy[runner.id] = None
        case RunnerOrder.REVOKE:
            state.put(replace(runner, cordoned=wanted.reason, probation_at=None), now)
            if (session := state.sessions.get(runner.id)) is not None:
                session.parting = Parting.REVOKED
            state.silences.set(runner.id, now)  # Nothing that it still says is heard.
            for attempt in state.attempts_of(runner.id):
                if not state.jobs[attempt.job].spec.exclusive:
                    state.leases.set(attempt.id, now)
    return []


def _arrival(known: Runner | None, now: int) -> str:
    """What the journal says of a runner that is there (again)."""
    if known is None or not known.seen_at:
        return ""
    return f"it is back after {seconds(now - known.seen_at)}"


def _tell_return(state: State, runner: Runner, before: Session | None, now: int, *, restarted: bool) -> None:
    """Say in the journal what a runner did that never counted as gone: it started anew, or came back in time."""
    if restarted:
        last = "" if before is None else f", {seconds(now - before.heard_at)} after the last word of the one before"
        state.note(about_runner(runner, "restarted", f"this is its start number {runner.incarnation}{last}", now))
    elif before is not None and before.suspected_at is not None:
        sentence = f"it is back on a new connection after {seconds(now - before.suspected_at)}"
        state.note(about_runner(runner, "online", sentence, now))


def _suspect(state: State, key: str, reason: str, now: int) -> None:
    """Say in the journal why a runner with work may be gone; not again and again of one whose link comes and goes."""
    noted_at = state.suspicions.get(key)
    if key in state.held_by and (noted_at is None or now - noted_at >= NOTE_EVERY_MS):
        state.suspicions[key] = state.sessions[key].suspected_at = now
        state.note(about_runner(state.runners[key], "suspect", reason, now))


def _take_stock(
    state: State, key: str, held: tuple[Held, ...], now: int, policy: Policy
) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    """Renew what a runner rightly holds, and name what it does not."""
    until_at = now + policy.lease_ms + policy.margin_ms
    renewed, revoked = [], []
    for item in held:
        attempt = state.attempts.get((item.job, item.attempt))
        ref = Ref(job=item.job, attempt=item.attempt)
        if attempt is not None and attempt.runner == key and is_current(state, attempt):
            adopt(state, attempt, now)
            state.leases.set(attempt.id, until_at)
            state.logged[attempt.id] = item.log_bytes
            renewed.append(ref)
            continue
        if attempt is not None and attempt.runner == key and attempt.id in state.leases:
            # Cancelled and still ending: its slot is really taken, and revoked it would get no grace.
            state.leases.set(attempt.id, until_at)
            state.logged[attempt.id] = item.log_bytes
            renewed.append(ref)
            continue
        if not item.finished:
            turn_back(state, key, (item.job, item.attempt), now)
            # What is finished is released by the answer to its `Finished`; its log may still be on the way.
            revoked.append(ref)
    for attempt in state.attempts_of(key):
        is_repeated = attempt.state == AttemptState.ASSIGNED and attempt.id not in state.untold
        if is_repeated and attempt.incarnation == state.sessions[key].incarnation:
            # The order may still be on its way: no answer to it is no sign of a runner that is gone.
            state.leases.set(attempt.id, max(until_at, state.leases.get(attempt.id) or 0))
    state.silences.set(key, until_at)
    state.sessions[key].trusted_until_at = until_at
    state.roomy[key] = None
    return tuple(renewed), tuple(revoked)


def _over(held: tuple[Held, ...], renewed: tuple[Ref, ...]) -> tuple[Ref, ...]:
    """What a runner has finished and we do not wait for. It is named so that the runner learns how much of the log is
    here: started from a backup, we have less of it than the runner was once told.
    """
    ended = (Ref(job=item.job, attempt=item.attempt) for item in held if item.finished)
    return tuple(ref for ref in ended if ref not in renewed)


def _lose_absent(state: State, runner: Runner, held: tuple[Held, ...], now: int, policy: Policy) -> None:
    """Give up what a restarted runner no longer has. Not exclusive jobs, before their lease is over: should the earlier
    process be on another machine after all, with the same data folder, it trusts its lease to the end.
    """
    present = {(item.job, item.attempt) for item in held}
    for attempt_id in list(state.held_by.get(runner.id, ())):
        # What became of one may have ended the next, or have settled its build.
        attempt = state.attempts.get(attempt_id)
        if attempt is None or attempt_id in present or attempt_id not in state.leases:
            continue
        if not state.jobs[attempt.job].spec.exclusive:
            held_for = f"{seconds(now - attempt.assigned_at)} after it was given"
            _give_up(state, attempt, f"runner {runner.name} restarted and no longer had it {held_for}", now, policy)


def _give_up(state: State, attempt: Attempt, reason: str, now: int, policy: Policy) -> None:
    if attempt.state in OPEN:
        lose(state, attempt, reason, now, policy)
    else:
        end_lingering(state, attempt, now)


def _of_another(state: State, event: RunnerSaid, said: Hello) -> SendBack:
    """Refuse a runner of another installation: what it holds is numbered there, and ours may have the same numbers."""
    reason = (
        f"this runner belongs to installation {said.cluster}, this dispatcher leads {state.identity.cluster}: "
        "give the runner a data folder of its own for each installation (--data DIR)"
    )
    refused = Refused(reason=reason, exit_code=int(ExitCode.NOT_ALLOWED), birth=said.birth)
    return SendBack(runner=event.runner, via=event.via, message=refused)


def _busy(state: State, event: RunnerSaid, now: int, policy: Policy) -> SendBack:
    """Send a runner away for a while. It lives, and it is us who do not listen: that must not cost it a lease."""
    for attempt in state.attempts_of(event.runner):
        state.leases.set(attempt.id, max(state.leases.get(attempt.id) or 0, now + policy.lease_ms + policy.margin_ms))
    spread_ms = sum(map(ord, event.runner)) % 2000
    return SendBack(runner=event.runner, via=event.via, message=Busy(retry_ms=1000 + spread_ms))
