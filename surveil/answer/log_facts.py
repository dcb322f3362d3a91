"""Whether a log is whole: how much of it is known to have existed, how much is here, and whether more may come.

What belongs here: the facts of one attempt's log, and the sentence that tells people of what is missing. What does
not: reading logs (`logbook`), closing them (`surveil.hands.closing`).
"""

from __future__ import annotations

from surveil.core.model import OPEN, Attempt
from surveil.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """`known` bytes are known to have been written, `kept` of them are here. `whole` is None while nobody can know.
    `missing` tells people what is not here, and is empty where nothing is missing.
    """

    known: int
    kept: int
    whole: bool | None
    missing: str = ""


def log_facts(attempt: Attempt, kept: int, now: int, wait_ms: int, *, revoked: bool = False) -> LogFacts:
    """The facts of an attempt's log of which `kept` bytes are here. Nothing more comes from a runner that was
    `revoked`.
    """
    known, end = max(attempt.log_bytes, kept), attempt.log_end
    if attempt.state in OPEN:
        return LogFacts(known=known, kept=kept, whole=None)
    if end is not None and kept >= end:
        return LogFacts(known=known, kept=kept, whole=True)
    if end is None and attempt.accepted_at is None and not known:
        # It was never even accepted, as far as is known; so most likely there never was a log.
        return LogFacts(known=0, kept=0, whole=None)
    closed = revoked or now - (attempt.finished_at or attempt.assigned_at) > wait_ms
    away = "was revoked" if revoked else "has not come back"
    return LogFacts(known=known, kept=kept, whole=False, missing=_missing(attempt, known - kept, away, closed=closed))


def _missing(attempt: Attempt, count: int, away: str, *, closed: bool) -> str:
    runner = f"runner {attempt.runner_name}"
    if attempt.log_end is not None:
        last = f"the last {count} bytes of this log"
        return f"{last} were lost with {runner}" if closed else f"{last} have not come from {runner} yet"
    end = f"the end of this log, at least {count} bytes," if count else "the end of this log"
    if closed:
        return f"{end} was lost with {runner}, which {away}"
    return f"{end} may still be with {runner}, which {away}"
