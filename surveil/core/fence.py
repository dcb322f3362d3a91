"""Words that come too late: of attempts that were given up, and whose jobs went on without them.

What belongs here: telling people, once for each attempt, that its runner came back and changed nothing. What does not:
the fence itself, which is `attempts.is_current`, and what the runner is answered (dispatch, pool).
"""

from __future__ import annotations

from typing import Final

from surveil.core.journal import about_attempt, seconds
from surveil.core.model import GIVEN_UP, Attempt, AttemptId, AttemptState
from surveil.core.state import State
from surveil.frozen import replace
from surveil.protocol import Finished

_SENT_AWAY: Final = "was told to end it"


def turn_back(state: State, runner: str, attempt_id: AttemptId, now: int) -> None:
    """A runner still holds an attempt that was given up, and is told to end it."""
    attempt = _given_up(state, runner, attempt_id)
    # The reason is stored, and so it is told once however often the dispatcher starts meanwhile.
    if attempt is not None and attempt.state == AttemptState.LOST and _SENT_AWAY not in attempt.reason:
        back = f"runner {attempt.runner_name} came back with it {_late(attempt, now)}"
        _tell(state, attempt, f"{back} and {_SENT_AWAY}", now)


def refuse_late_result(state: State, runner: str, said: Finished, now: int) -> None:
    """A runner says how an attempt ended that does not decide any more. Its log is wanted all the same.

    It is told before it is noted that this was the runner's last word, and so it is told once.
    """
    attempt = _given_up(state, runner, (said.job, said.attempt))
    if attempt is None or attempt.released:
        return
    # That it ended as it was told to is no news, and neither is that what was given up is lost.
    if said.outcome in {"passed", "failed", "errored"}:
        _tell(state, attempt, f"its result, {said.outcome}, came {_late(attempt, now)} and changes nothing", now)
    if attempt.state == AttemptState.LOST and said.log_bytes:
        sentence = f"runner {attempt.runner_name} delivers the rest of its log, which has {said.log_bytes} bytes"
        state.note(about_attempt(attempt, "tail", f"{sentence}, {_late(attempt, now)}", now))


def _given_up(state: State, runner: str, attempt_id: AttemptId) -> Attempt | None:
    """The attempt, if it is this runner's and was given up."""
    attempt = state.attempts.get(attempt_id) or state.past.get(attempt_id)
    if attempt is None or attempt.runner != runner:
        return None
    return attempt if attempt.state in GIVEN_UP else None


def _late(attempt: Attempt, now: int) -> str:
    return f"{seconds(now - (attempt.finished_at or now))} after it was {attempt.state.value}"


def _tell(state: State, attempt: Attempt, sentence: str, now: int) -> None:
    told = replace(attempt, reason=f"{attempt.reason}; {sentence}")
    state.amend(told, about_attempt(told, "fenced", sentence, now))
