"""What a runner claims about attempts that were never its own.

What belongs here: noticing, so that a person is told. What does not: the fence that makes such words change nothing
(`core.dispatch`), and telling (`net.audit`).
"""

from __future__ import annotations

from surveil.core.model import AttemptId
from surveil.core.state import State
from surveil.protocol import Accepted, Finished, Heartbeat, Hello, Message, Progress, Rejected


def not_its_own(state: State, runner: str, said: Message) -> int:
    """Of how many attempts this word speaks that another runner has or had, or that were never handed out.

    Attempts of jobs that are out of memory are not counted: an honest runner may be late with them.
    """
    ids: list[AttemptId] = []
    match said:
        case Hello() | Heartbeat():
            ids = [(held.job, held.attempt) for held in said.held]
        case Accepted() | Rejected() | Progress() | Finished():
            ids = [(said.job, said.attempt)]
        case _:
            pass
    return sum(_is_not(state, runner, attempt_id) for attempt_id in ids)


def _is_not(state: State, runner: str, attempt_id: AttemptId) -> bool:
    attempt = state.attempts.get(attempt_id)
    if attempt is not None:
        return attempt.runner != runner
    job = state.jobs.get(attempt_id[0])
    return job is not None and not 0 < attempt_id[1] <= job.attempt
