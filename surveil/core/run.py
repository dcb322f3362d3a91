"""The runner's mind: what it holds, starts, stops, says and repeats.

What belongs here: decisions, as functions of the state, one event and one instant; the conversation with the
dispatcher and the clock. What does not: clocks, sockets, processes and disks (the hands in `surveil.runner`),
the life of a single attempt (run_attempt), and the shapes of events and effects (run_model).

The rules that everything else follows from: a tombstone is on disk before an order is answered, so no attempt
is begun twice; a lease counts from the moment at which *we* sent what the dispatcher answers, so that ours
ends before theirs; everything is repeated until it is made needless; and words of an older dispatcher (a
lower epoch) are not heard.
"""

from __future__ import annotations

from typing import assert_never

from surveil.core import run_attempt as life
from surveil.core.run_events import (
    Collected,
    Connected,
    DetachWanted,
    Disconnected,
    DrainWanted,
    Effect,
    Ended,
    Event,
    Exit,
    KeeperLost,
    Load,
    LogGrew,
    LogKept,
    PreparationFailed,
    Prepared,
    Recovered,
    RememberCluster,
    ResumeLog,
    Said,
    Send,
    SetBulk,
    StepsChanged,
    StopWanted,
    Tick,
    TombstoneFailed,
)
from surveil.core.run_model import SENT_MAX, Ending, HeldAttempt, RunnerPolicy, RunState
from surveil.errors import ExitCode
from surveil.protocol import (
    MIRRORS_MAX,
    Assign,
    Beat,
    Busy,
    Bye,
    Cancel,
    Drain,
    Heartbeat,
    Held,
    Hello,
    Introduce,
    Refused,
    Release,
    ToRunner,
    Welcome,
)


def handle(state: RunState, event: Event, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Change `state` by one event at the instant `now`, and return what the hands are to do, in this order."""
    if state.exited:
        return []
    if not state.heartbeat_ms:
        state.heartbeat_ms, state.lease_ms, state.heard_at = policy.heartbeat_ms, policy.lease_ms, now
    effects = _believe(state, event, now, policy)
    return effects + _exit_when_done(state, now) if state.exit_when_empty else effects


def next_deadline(state: RunState, now: int, policy: RunnerPolicy) -> int | None:
    """The next instant at which a `Tick` would do something; `now` when it is overdue, None when only another
    event can.
    """
    if state.exited:
        return None
    due = [state.hello_at, state.heartbeat_at, state.stop_by_at]
    for held in state.held.values():
        due.append(held.forget_at)
        if held.open:
            due += [held.end_due_at, life.fence_at(state, held, policy)]
        elif held.answerable and state.welcomed:
            due.append(held.repeat_at)
    known = [at for at in due if at is not None]
    return max(now, min(known)) if known else None


def _believe(state: RunState, event: Event, now: int, policy: RunnerPolicy) -> list[Effect]:
    match event:
        case Said(message=message):
            return _hear(state, message, now, policy)
        case Tick():
            return _tick(state, now, policy)
        case Connected():
            state.connected, state.welcomed, state.hellos, state.heartbeat_at = True, False, 0, None
            state.hello_from_seq = state.seq + 1
            return _hello(state, now, policy)
        case Disconnected():
            state.connected = state.welcomed = False
            state.hello_at = state.heartbeat_at = None
            return []
        case Recovered(attempts=attempts):
            return [effect for found in attempts for effect in life.recover(state, found, now, policy)]
        case Load():
            return _load(state, event, now, policy)
        case DrainWanted():
            state.draining = state.exit_when_empty = True
            return _heartbeat(state, now)
        case StopWanted():
            return _stop(state, "the runner was stopped by its user", ExitCode.INTERRUPTED, now, policy)
        case DetachWanted():
            return _exit(state, returning=True)
        case TombstoneFailed():
            return life.tombstone_failed(state, event)
        case _:
            held = state.held.get(event.id)
            return [] if held is None else _happened(state, held, event, now, policy)


def _happened(
    state: RunState,
    held: HeldAttempt,
    event: Prepared | PreparationFailed | StepsChanged | Ended | Collected | KeeperLost | LogGrew | LogKept,
    now: int,
    policy: RunnerPolicy,
) -> list[Effect]:
    match event:
        case Prepared():
            _remember_mirror(state, held.assign.repo)
            return life.start(state, held, now, policy)
        case PreparationFailed(reason=reason, blameless=blameless):
            ending = Ending(outcome="errored", reason=reason, blameless=blameless)
            return life.finish(state, held, now, policy, ending=ending)
        case StepsChanged(steps=steps):
            return life.steps_changed(state, held, steps)
        case Ended():
            return life.ended(state, held, event, now, policy)
        case Collected():
            return life.collected(state, held, event, now, policy)
        case KeeperLost(log_bytes=log_bytes):
            return life.keeper_lost(state, held, log_bytes, now, policy)
        case LogGrew(log_bytes=log_bytes):
            return life.log_grew(state, held, log_bytes)
        case LogKept(upto=upto):
            return life.log_kept(state, held, upto)
        case _:
            assert_never(event)


# ---- what the dispatcher says ------------------------------------------------------------------------------


def _hear(state: RunState, message: ToRunner | Refused, now: int, policy: RunnerPolicy) -> list[Effect]:
    if isinstance(message, Welcome | Beat | Introduce | Assign):
        if message.epoch < state.epoch:
            return []
        state.epoch = message.epoch
    state.heard_at = now
    match message:
        case Beat():
            state.told_to_drain = message.draining
            return _renew(state, message, now, policy)
        case Assign():
            return life.assign(state, message, now, policy)
        case Welcome():
            return _welcome(state, message, now, policy)
        case Introduce():
            return _introduce(state, now, policy)
        case Busy(retry_ms=retry_ms):
            if not state.welcomed and state.connected:
                wait_ms = min(max(retry_ms, 0), policy.hello_max_ms)
                state.hello_at = now + wait_ms + life.jitter(state, f"busy/{state.seq}", wait_ms // 2)
            return []
        case Drain(stop=stop):
            # Without `stop` it may be taken back: each `Welcome` and `Beat` says how things stand.
            state.told_to_drain = True
            state.draining = state.draining or stop
            state.exit_when_empty = state.exit_when_empty or stop
            return _heartbeat(state, now)
        case Refused():
            return _refused(state, message, now, policy)
        case Cancel() | Release():
            held = state.held.get((message.job, message.attempt))
            return [] if held is None else _order(state, held, message, now, policy)
        case _:
            assert_never(message)


def _refused(state: RunState, message: Refused, now: int, policy: RunnerPolicy) -> list[Effect]:
    if message.birth is None:
        # Once welcomed, a refusal concerns a single message, and that one is not repeated for ever anyway.
        return (
            [] if state.welcomed and not message.final else _stop(state, message.reason, message.exit_code, now, policy)
        )
    if message.birth != state.birth:
        return []
    if state.epoch:
        # Another machine has our key and took our place: what we run is given up already, and must not go on.
        return _stop(state, message.reason, message.exit_code, now, policy)
    # Nothing was ever ordered of this process. What it found running, if anything, is not its own to end.
    state.exit_code, state.exit_reason = message.exit_code, message.reason
    return _exit(state, returning=False)


def _order(
    state: RunState, held: HeldAttempt, message: Cancel | Release, now: int, policy: RunnerPolicy
) -> list[Effect]:
    if isinstance(message, Release):
        return life.release(state, held, stale=message.fate == "stale", now=now, policy=policy)
    ending = Ending(outcome="cancelled", reason=message.reason)
    return life.end(state, held, ending, now, policy, grace_ms=max(message.grace_ms, 0))


def _welcome(state: RunState, message: Welcome, now: int, policy: RunnerPolicy) -> list[Effect]:
    if message.incarnation != state.incarnation or not state.connected or message.seq < state.hello_from_seq:
        return []
    if state.cluster and message.cluster != state.cluster:
        reason = (
            f"the dispatcher belongs to installation {message.cluster}, this runner to {state.cluster}: "
            "give the runner a data folder of its own for each installation (--data DIR)"
        )
        return _stop(state, reason, ExitCode.NOT_ALLOWED, now, policy)
    effects: list[Effect] = [] if state.cluster else [RememberCluster(cluster=message.cluster)]
    state.cluster = message.cluster
    state.heartbeat_ms, state.lease_ms = max(message.heartbeat_ms, 1), max(message.lease_ms, 1)
    state.told_to_drain, state.hello_at, state.hellos = message.draining, None, 0
    if not state.welcomed:
        # Runners that were welcomed together should not beat together: the first comes after 0.3 to 1 beats.
        part = life.jitter(state, f"phase/{state.seq}", state.heartbeat_ms * 7 // 10)
        state.heartbeat_at = now + state.heartbeat_ms * 3 // 10 + part
    state.welcomed = True
    effects.append(SetBulk(port=message.bulk_port))
    for ref in (*message.renewed, *message.revoked):
        if held := state.held.get((ref.job, ref.attempt)):
            # What the dispatcher has needs no `Kept` any more: the one that said so may have been lost. What it has not
            # is wanted again, whatever was said before it was started from a backup.
            effects += [ResumeLog(id=held.id, at=ref.log_bytes), *life.log_resumed(state, held, ref.log_bytes)]
    effects += _renew(state, message, now, policy)
    for held in list(state.held.values()):
        effects += life.say_steps(state, held)
        effects += life.say_finished(state, held, now, policy)
    return effects


def _introduce(state: RunState, now: int, policy: RunnerPolicy) -> list[Effect]:
    if not state.connected or not state.welcomed:
        return []  # A `Hello` is on its way, and is repeated until it is answered.
    state.welcomed, state.heartbeat_at, state.hellos = False, None, 0
    return _hello(state, now, policy)


def _renew(state: RunState, message: Welcome | Beat, now: int, policy: RunnerPolicy) -> list[Effect]:
    effects: list[Effect] = []
    sent_at = state.sent_at.get(message.seq)
    for ref in message.renewed:
        held = state.held.get((ref.job, ref.attempt))
        if held is not None and sent_at is not None:
            effects += life.renew(state, held, sent_at + state.lease_ms, now)
    for ref in message.revoked:
        held = state.held.get((ref.job, ref.attempt))
        if held is not None:
            effects += life.revoke(state, held, now, policy)
    return effects


# ---- what we say -------------------------------------------------------------------------------------------


def _hello(state: RunState, now: int, policy: RunnerPolicy) -> list[Effect]:
    """Introduce ourselves, and be ready to do it again after a wait anywhere below a ceiling that doubles."""
    ceiling = min(policy.hello_max_ms, policy.hello_ms << min(state.hellos, 16))
    state.hellos += 1
    seq = _next_seq(state, now)
    state.hello_at = now + 1 + life.jitter(state, f"hello/{seq}", ceiling)
    message = Hello(
        name=state.name,
        software=state.software,
        host=state.host,
        cluster=state.cluster,
        incarnation=state.incarnation,
        birth=state.birth,
        seq=seq,
        labels=state.labels,
        slots=state.slots,
        held=_held(state),
        mirrors=state.mirrors,
    )
    return [Send(message=message)]


def _heartbeat(state: RunState, now: int) -> list[Effect]:
    if not state.welcomed:
        return []
    state.heartbeat_at = now + state.heartbeat_ms
    message = Heartbeat(
        incarnation=state.incarnation,
        seq=_next_seq(state, now),
        held=_held(state),
        free=0 if state.disk_low or state.drains else max(0, state.slots - state.busy),
        load_percent=state.load_percent,
        disk_free_mib=state.disk_free_mib,
    )
    return [Send(message=message)]


def _next_seq(state: RunState, now: int) -> int:
    """Number what we say; an answer to something older than a lease could renew nothing, so that is
    forgotten.
    """
    over = [seq for seq, at in state.sent_at.items() if at + state.lease_ms <= now]
    for seq in over or list(state.sent_at)[: len(state.sent_at) - SENT_MAX + 1]:
        del state.sent_at[seq]
    state.seq += 1
    state.sent_at[state.seq] = now
    return state.seq


def _held(state: RunState) -> tuple[Held, ...]:
    return tuple(
        Held(job=held.id[0], attempt=held.id[1], finished=not held.open, log_bytes=held.log_bytes)
        for held in state.held.values()
        if held.answerable
    )


# ---- the clock, the machine, and the end -------------------------------------------------------------------


def _tick(state: RunState, now: int, policy: RunnerPolicy) -> list[Effect]:
    effects: list[Effect] = []
    if state.hello_at is not None and state.hello_at <= now:
        effects += _hello(state, now, policy)
    for held in list(state.held.values()):
        effects += life.tick(state, held, now, policy)
    # What has just ended is part of what the heartbeat says.
    if state.heartbeat_at is not None and state.heartbeat_at <= now:
        effects += _heartbeat(state, now)
    return effects


def _load(state: RunState, event: Load, now: int, policy: RunnerPolicy) -> list[Effect]:
    low = (
        event.disk_free_mib < policy.disk_free_min_mib
        or event.disk_free_mib * 100 < event.disk_total_mib * policy.disk_free_min_percent
    )
    turned, state.disk_low = low and not state.disk_low, low
    state.disk_free_mib, state.load_percent = event.disk_free_mib, event.load_percent
    return _heartbeat(state, now) if turned else []


def _stop(state: RunState, reason: str, code: int, now: int, policy: RunnerPolicy) -> list[Effect]:
    """End everything that runs here, then this process, in bounded time."""
    if state.stop_by_at is None:
        state.stop_by_at = now + policy.stop_ms
        state.exit_code, state.exit_reason = code, reason
    state.draining = state.exit_when_empty = True
    # Its owner takes the machine away: that is no fault of the jobs, and the dispatcher counts it as none.
    ending = Ending(outcome="cancelled", reason=reason)
    effects: list[Effect] = []
    for held in list(state.held.values()):
        effects += life.end(state, held, ending, now, policy, grace_ms=policy.stop_grace_ms)
    return effects


def _exit_when_done(state: RunState, now: int) -> list[Effect]:
    """End this process once it has nothing left to do, or may wait no longer for it."""
    if state.exited:
        return []
    stopping = state.stop_by_at is not None
    if not state.held or (stopping and (now >= (state.stop_by_at or 0) or not (state.welcomed or state.busy))):
        return _exit(state, returning=False)
    return []


def _exit(state: RunState, *, returning: bool) -> list[Effect]:
    state.exited = True
    bye = Send(message=Bye(incarnation=state.incarnation, returning=returning))
    return [*([bye] if state.welcomed else []), Exit(code=state.exit_code, reason=state.exit_reason)]


def _remember_mirror(state: RunState, repo: str) -> None:
    """Its commit was there, so this machine has a mirror of it; the next `Hello` says so, newest last."""
    if repo not in state.mirrors:
        state.mirrors = (*state.mirrors, repo)[-MIRRORS_MAX:]
