"""Two processes with one runner's key: a data folder was copied to another machine, or a machine's image was cloned.

What belongs here: which of them is the runner, and what the other one is told. What does not: keys that are not known
or revoked (net).

A higher incarnation is a later start, and a runner that starts is the runner, unless the earlier process is still
there: it has its connection, and speaks after the other one came. Then whoever came first goes on undisturbed, however
often a supervisor starts the other one again. Two births under one incarnation are never the same runner, and an
incarnation that is over never comes back: an order names its incarnation, and must find one process at the most.
"""

from __future__ import annotations

from typing import Final

from surveil.core.effects import SendBack
from surveil.core.events import RunnerSaid
from surveil.core.journal import about_runner
from surveil.core.model import Runner
from surveil.core.policy import Policy
from surveil.core.state import Session, State
from surveil.errors import ExitCode
from surveil.protocol import Busy, Hello, Refused

WAIT_MS: Final = 500
"""How soon a later start asks again while it is not certain that the earlier process is gone."""
NOTE_EVERY_MS: Final = 600_000
"""A supervisor may start a copy again and again; one line of the journal is enough for so long."""

_ADVICE: Final = (
    "give this one its own: make a token with 'surveil token create' on the dispatcher's machine, and type "
    "'surveil runner --join TOKEN --data NEW_FOLDER' here"
)


def turn_away(state: State, event: RunnerSaid, said: Hello, now: int, policy: Policy) -> SendBack | None:
    """The answer to a `Hello` of a process that is not, or not yet, the runner; None for the runner's own."""
    key, known = event.runner, state.runners.get(event.runner)
    if known is None or (said.incarnation == known.incarnation and known.birth in {said.birth, None}):
        return None
    if said.incarnation < known.incarnation:
        reason = (
            f"a later start of this runner came in from {known.host}: its data folder was copied to another machine, "
            f"or an old copy of it was put back; {_ADVICE}"
        )
        return _refuse(state, known, event.via, said, now, reason=reason)
    copied = f"this runner's data folder was copied to another machine: {known.host} runs with it; {_ADVICE}"
    if said.incarnation == known.incarnation:
        return _refuse(state, known, event.via, said, now, reason=copied)
    session = state.sessions.get(key)
    if session is None or not _may_live(session, now, policy):
        return None
    if session.heard_at > _doubt(session, now, policy):
        return _refuse(state, known, event.via, said, now, reason=copied)
    return SendBack(runner=key, via=event.via, message=Busy(retry_ms=WAIT_MS))


def _may_live(session: Session, now: int, policy: Policy) -> bool:
    """Whether nothing speaks against the earlier process: its connection stands, and it did not miss a heartbeat."""
    return session.connected and not session.silent and now - session.heard_at < 2 * policy.heartbeat_ms


def _doubt(session: Session, now: int, policy: Policy) -> int:
    """Note that somebody else came with the earlier process's key; returns since when that is being settled."""
    if session.doubted_at is None or now - session.doubted_at > 2 * policy.lease_ms:
        session.doubted_at = now
    return session.doubted_at


def _refuse(state: State, known: Runner, via: bytes, said: Hello, now: int, *, reason: str) -> SendBack:
    noted_at = state.copies.get(known.id)
    if noted_at is None or now - noted_at >= NOTE_EVERY_MS:
        state.copies[known.id] = now
        sentence = f"{said.host} came with a copy of the data folder of {known.host}, and was refused"
        state.note(about_runner(known, "copied", sentence, now))
    refused = Refused(reason=reason, exit_code=int(ExitCode.NOT_ALLOWED), birth=said.birth)
    return SendBack(runner=known.id, via=via, message=refused)
