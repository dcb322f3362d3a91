"""The journal: which steps of a record it tells, and in what words.

What belongs here: one function for each kind of record, from an old and a new version to a line or None; and the lines
about what changes no record's state. What does not: how lines are kept (state) and shown (answer).

A line is written for what another line does not say already. A new job is in its build's line; that a job or build
runs is said by the attempt, and an attempt's success by its job; and that an attempt was handed out is in its record,
while the line follows a moment later, when its runner has taken it, refused it or was lost. `why` is said in a line
where it belongs to the moment and not to the record.
"""

from __future__ import annotations

from typing import Final

from surveil.core.model import Attempt, AttemptState, Build, Job, Note, Runner, Status

_UNTOLD_JOBS: Final = frozenset({Status.QUEUED, Status.BLOCKED})
_UNTOLD_ATTEMPTS: Final = frozenset({AttemptState.ASSIGNED, AttemptState.PASSED})


def build_line(old: Build | None, new: Build, now: int, why: str) -> Note | None:
    """A build came or got its verdict."""
    state = new.state
    if (old is not None and old.state == state) or state == Status.RUNNING:
        return None
    reason = f"{why}; {new.reason}" if why and new.reason else why or new.reason
    return Note(at=now, what="build", id=str(new.id), build=new.id, state=state, reason=reason)


def job_line(old: Job | None, new: Job, now: int) -> Note | None:
    """A job waits again, or got its verdict."""
    state = new.state
    if state in _UNTOLD_JOBS if old is None else old.state == state:
        return None
    if state == Status.RUNNING:
        return None
    return Note(at=now, what="job", id=new.id, build=new.build, state=state, reason=new.reason)


def attempt_line(old: Attempt | None, new: Attempt, now: int) -> Note | None:
    """A runner took an attempt, or it ended without success."""
    state = new.state
    if (old is not None and old.state == state) or state in _UNTOLD_ATTEMPTS:
        return None
    return about_attempt(new, state, new.reason, now)


def about_attempt(attempt: Attempt, state: str, reason: str, now: int) -> Note:
    """A line about an attempt; `state` may be one that only the journal knows, such as `fenced`."""
    build = int(attempt.job.partition("/")[0])
    return Note(at=now, what="attempt", id=f"{attempt.job}#{attempt.number}", build=build, state=state, reason=reason)


def runner_line(old: Runner | None, new: Runner, now: int, why: str) -> Note | None:
    """A runner came, went, or changed what it may be given."""
    state = _pool_state(new)
    if old is not None and _pool_state(old) == state:
        return None
    return about_runner(new, state, new.cordoned if state == "cordoned" else why, now)


def about_runner(runner: Runner, state: str, reason: str, now: int) -> Note:
    """A line about a runner; `state` may be one that only the journal knows, such as `suspect`."""
    return Note(at=now, what="runner", id=runner.id, build=None, state=state, reason=reason)


def about_dispatcher(state: str, reason: str, now: int) -> Note:
    """A line about ourselves."""
    return Note(at=now, what="dispatcher", id="", build=None, state=state, reason=reason)


def seconds(duration_ms: int) -> str:
    """A duration in a sentence: `8.1 s`."""
    return f"{max(0, duration_ms) / 1000:.1f} s"


def _pool_state(runner: Runner) -> str:
    if not runner.online:
        return "offline"
    if runner.cordoned:
        return "cordoned"
    return "draining" if runner.draining else "online"
