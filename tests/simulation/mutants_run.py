"""Bugs planted into the minds of runners and observers. A list and nothing else."""

from __future__ import annotations

from tests.simulation.mutation import Mutant

RUN_MIND = "surveil.core.run"
LIFE = "surveil.core.run_attempt"
OBSERVE = "surveil.core.observe"

RUN: tuple[Mutant, ...] = (
    Mutant(
        name="incarnation not checked",
        sentence="a runner takes orders that were meant for an earlier incarnation",
        place=f"{LIFE}:assign",
        old="if message.incarnation == state.incarnation else None",
        new="",
    ),
    Mutant(
        name="no tombstone",
        sentence="a runner begins an attempt that it has had",
        place=f"{LIFE}:_why_not",
        old="if message.attempt <= had:",
        new="if False:",
    ),
    Mutant(
        name="lease from the receipt of a beat",
        sentence="a renewal counts from when the runner heard of it",
        place=f"{RUN_MIND}:_renew",
        old="sent_at + state.lease_ms",
        new="now + state.lease_ms",
    ),
    Mutant(
        name="lease from the receipt of an order",
        sentence="the first lease counts from when the runner got the order",
        place=f"{LIFE}:assign",
        old="_accept(state, message, sent_at + state.lease_ms, now, policy)",
        new="_accept(state, message, now + state.lease_ms, now, policy)",
    ),
    Mutant(
        name="late order accepted",
        sentence="an order whose first lease is over is taken all the same",
        place=f"{LIFE}:_why_not",
        old="if sent_at is None or sent_at + state.lease_ms <= now:",
        new="if sent_at is None:",
    ),
    Mutant(
        name="order before the welcome",
        sentence="an order is taken before the runner knows how long a lease is",
        place=f"{LIFE}:assign",
        old="if held is None and not state.welcomed:",
        new="if False:",
    ),
    Mutant(
        name="silent refusal",
        sentence="an order that cannot be taken is not answered",
        place=f"{LIFE}:assign",
        old="return [*effects, Send(message=rejected)]",
        new="return effects",
    ),
    Mutant(
        name="full runner accepts",
        sentence="a runner takes more than it has slots for",
        place=f"{LIFE}:_why_not",
        old="if state.busy >= state.slots:",
        new="if False:",
    ),
    Mutant(
        name="old epochs heard",
        sentence="a runner obeys a dispatcher that was deposed",
        place=f"{RUN_MIND}:_hear",
        old="if message.epoch < state.epoch:",
        new="if False:",
    ),
    Mutant(
        name="result said once",
        sentence="a result is not repeated",
        place=f"{LIFE}:tick",
        old="return say_finished(state, held, now, policy) if held.repeat_at <= now else []",
        new="return []",
    ),
    Mutant(
        name="log deleted when released",
        sentence="a released attempt is deleted before its log is kept",
        place=f"{LIFE}:forget_if_done",
        old="or held.kept_bytes < held.log_bytes",
        new="",
    ),
    Mutant(
        name="result deleted when the log is kept",
        sentence="an attempt is deleted before its result is recorded",
        place=f"{LIFE}:forget_if_done",
        old="or held.answerable",
        new="",
    ),
    Mutant(
        name="finished work revoked",
        sentence="a revocation throws away a log that is still wanted",
        place=f"{LIFE}:revoke",
        old="if held.revoked or not held.open:",
        new="if not held.open:\n        return forget(state, held)\n    if held.revoked:",
    ),
    Mutant(
        name="lost keeper taken for success",
        sentence="an attempt whose keeper died is reported as passed",
        place=f"{LIFE}:keeper_lost",
        old='outcome="lost"',
        new='outcome="passed"',
    ),
    Mutant(
        name="found work forgotten",
        sentence="a new incarnation does not take up what the old one left running",
        place=f"{LIFE}:recover",
        old="if found.launched and not found.kept:",
        new="if found.launched:",
    ),
    Mutant(
        name="ended by us, whatever it did",
        sentence="an attempt that ended by itself just before it was to be ended is reported as lost",
        place=f"{LIFE}:ended",
        old='if held.ending is not None and outcome in {"cancelled", "lost"}:',
        new='if True:\n        outcome = "passed"\n    if held.ending is not None:',
    ),
    Mutant(
        name="welcome not believed about logs",
        sentence="what a welcome says is kept does not count as kept",
        place=f"{RUN_MIND}:_welcome",
        old=", *life.log_kept(state, held, ref.log_bytes)",
        new="",
    ),
    Mutant(
        name="hello said once",
        sentence="an introduction that is not answered is not repeated",
        place=f"{RUN_MIND}:_tick",
        old="if state.hello_at is not None and state.hello_at <= now:",
        new="if False:",
    ),
    Mutant(
        name="observer persists before seen",
        sentence="what was reported counts as acknowledged at once",
        place=f"{OBSERVE}:_fill",
        old="repo.newest[ref] = mid",
        new="repo.newest[ref], repo.acknowledged[ref] = mid, sha",
    ),
    Mutant(
        name="observer forgets the unacknowledged",
        sentence="a report that is not acknowledged is not repeated",
        place=f"{OBSERVE}:_repeat",
        old="if sent.repeat_at <= now:",
        new="if False:",
    ),
    Mutant(
        name="observer drops the newest",
        sentence="of several commits of a ref, the first one reported stays the last word",
        place=f"{OBSERVE}:_acknowledged",
        old="repo.acknowledged[sent.ref] = sent.sha",
        new="repo.acknowledged[sent.ref] = repo.seen[sent.ref]",
    ),
)
