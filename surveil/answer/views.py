"""Records as documents: the shapes that `--json` prints and that scripts rely on.

What belongs here: pure functions from records to maps, one for each shape, with its keys in the order in which people
read them. What does not: where the records come from (`answers`) and how documents look on a terminal
(`surveil.cli`).

Times are RFC 3339 in UTC with milliseconds, durations integers of milliseconds, unknown values None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, overload

from surveil.answer.log_facts import LogFacts
from surveil.core.images import digest_of
from surveil.core.model import Attempt, AttemptState, Build, Job, Note, Runner, Status
from surveil.core.run_verdict import about_attempt
from surveil.core.state import Session, State
from surveil.core.taking import entries_of
from surveil.protocol import ImageSpec, StepReport, StepState, WatchedRepo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

APPROVALS_SHOWN_MAX: Final = 20
LATEST_AT: Final = 253_370_764_800_000
"""The year 9999 in milliseconds: no later time can be written, nor this one's last day on every clock."""
_SECONDS_KEPT: Final = 4096
_DAYS_KEPT: Final = 512
"""Of so many it is remembered how they are written."""

Facts = Callable[[Attempt], LogFacts]
"""What is known of an attempt's log, and how much of it is on disk."""


@overload
def time_text(at: int) -> str: ...


@overload
def time_text(at: int | None) -> str | None: ...


def time_text(at: int | None) -> str | None:
    """Milliseconds since 1970 as `2026-11-20T09:15:00.123Z`; None stays None."""
    if at is None:
        return None
    # A runner counts how long its steps took, and could count to anything.
    seconds, ms = divmod(min(at, LATEST_AT), 1000)
    return f"{_second_text(seconds)}{ms:03d}Z"


@lru_cache(_SECONDS_KEPT)
def _second_text(seconds: int) -> str:
    """A second since 1970 as a time without its milliseconds; many times of a document are of the same one."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{_day_text(days)}T{hour:02d}:{minute:02d}:{second:02d}."


@lru_cache(_DAYS_KEPT)
def _day_text(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")


def steps_of(attempt: Attempt) -> tuple[StepReport, ...]:
    """The steps of an attempt as they stand. Of one that was given up the runner's word on its steps came too late or
    never, and nothing of it goes on for anybody who looks.
    """
    if attempt.state in {AttemptState.ASSIGNED, AttemptState.RUNNING}:
        return attempt.steps
    cut: StepState = "cancelled" if attempt.state is AttemptState.CANCELLED else "errored"
    closed: dict[StepState, StepState] = {"running": cut, "pending": "skipped"}
    return tuple(replace(step, state=closed[step.state]) if step.state in closed else step for step in attempt.steps)


def step_view(step: StepReport, accepted_at: int | None, log_bytes: int) -> dict[str, Any]:
    """A step of an attempt; its output starts at byte `log_at` of the attempt's log, which has `log_bytes`."""
    return {
        "name": step.name,
        "state": step.state,
        "exit_code": step.exit_code,
        "started_at": _after(accepted_at, step.started_after_ms),
        "finished_at": _after(accepted_at, step.finished_after_ms),
        "log_at": step.log_at,
        "image": step.image or None,
        "remarks": [
            {
                "at": remark.at,
                "time": _after(accepted_at, remark.after_ms),
                "about": "attempt" if about_attempt(remark, step, log_bytes) else "step",
                "text": remark.text,
            }
            for remark in step.remarks
        ],
    }


def attempt_view(attempt: Attempt, facts: Facts | None = None, image: ImageSpec | None = None) -> dict[str, Any]:
    """An attempt at a job with this `image`; without `facts`, with what its record says of its log."""
    log = LogFacts(known=attempt.log_bytes, kept=0, whole=None) if facts is None else facts(attempt)
    return {
        "number": attempt.number,
        "runner": attempt.runner_name,
        "state": attempt.state.value,
        "reason": attempt.reason,
        "assigned_at": time_text(attempt.assigned_at),
        "started_at": time_text(attempt.started_at),
        "finished_at": time_text(attempt.finished_at),
        "exit_code": attempt.exit_code,
        "log_bytes": log.known,
        "log_kept_bytes": None if facts is None else log.kept,
        "log_complete": log.whole,
        "log_missing": log.missing or None,
        "isolation": attempt.isolation or None,
        "image": None if image is None else {"name": image.name, "digest": digest_of(attempt.isolation) or None},
        "steps": [step_view(step, attempt.accepted_at, attempt.log_bytes) for step in steps_of(attempt)],
    }


def job_view(job: Job, attempts: Iterable[Attempt], facts: Facts | None = None) -> dict[str, Any]:
    """A job with its attempts, oldest first. What it waits for and what its tests came to is filled in by whoever
    knows.
    """
    return {
        "id": job.id,
        "name": job.spec.name,
        "state": job.state.value,
        "reason": job.reason,
        "waiting": None,
        "needs": list(job.spec.needs),
        "artifacts_from": entries_of(job.spec.artifacts_from),
        "labels": list(job.spec.labels),
        "matrix": dict(job.spec.matrix),
        "when": job.spec.when,
        "priority": job.spec.priority,
        "concurrency": job.spec.concurrency or None,
        "continue_on_error": job.spec.continue_on_error,
        "outputs": {output.name: output.value for output in job.outputs},
        "created_at": time_text(job.created_at),
        "started_at": time_text(job.started_at),
        "finished_at": time_text(job.finished_at),
        "tests": None,
        "attempt": job.attempt,
        "attempts": [attempt_view(attempt, facts, job.spec.image) for attempt in attempts],
    }


def build_view(build: Build, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """A build with the documents of its jobs, in the order of the pipeline file."""
    return {
        "id": build.id,
        "repo": build.repo,
        "ref": build.ref,
        "sha": build.sha,
        "message": build.message,
        "author": build.author,
        "event": build.event,
        "base": build.base or None,
        "trusted": build.trusted,
        "approved": build.approved or None,
        "inputs": None if build.inputs is None else dict(build.inputs),
        "state": build.state.value,
        "reason": build.reason,
        "waiting": None,
        "created_at": time_text(build.created_at),
        "started_at": time_text(build.started_at),
        "finished_at": time_text(build.finished_at),
        "pipeline_file": build.pipeline_file or None,
        "rule": build.rule or None,
        "complaints": list(build.complaints),
        "retry_of": build.retry_of,
        "jobs": jobs,
    }


def brief_view(build: Build) -> dict[str, Any]:
    """A build without its jobs, for lists in which nobody looks at them."""
    document = build_view(build, [])
    del document["jobs"]
    return document


def runner_view(runner: Runner, session: Session | None, busy: int) -> dict[str, Any]:
    """A runner of the pool. `load` is in percent of its processors; it and `disk_free_mib` are None while it is not
    heard.
    """
    heard = session is not None and runner.online
    refuses = refusal_words(session) if heard and session is not None and not runner.draining else None
    seen_at = max(runner.seen_at, session.heard_at if session is not None else 0)
    return {
        "id": runner.id,
        "name": runner.name,
        "state": runner_state(runner, session),
        "reason": runner.cordoned or refuses,
        "host": runner.host or None,
        "labels": list(runner.labels),
        "slots": runner.slots,
        "busy": busy,
        "incarnation": runner.incarnation,
        "last_seen_at": time_text(seen_at or None),
        "load": session.load_percent if heard and session is not None else None,
        "disk_free_mib": session.disk_free_mib if heard and session is not None else None,
        "version": runner.software or None,
    }


def refusal_words(session: Session) -> str | None:
    """What a runner says that has an idle slot and takes nothing: its disk is nearly full, it has just started, or it
    is about to stop.
    """
    if not session.refusing:
        return None
    if session.disk_free_mib is None:
        return "takes nothing new before its first heartbeat since its start"
    return f"takes nothing new now: it is about to stop, or {session.disk_free_mib} MiB of its disk are too few"


def runner_state(runner: Runner, session: Session | None) -> str:
    """`online suspect offline draining cordoned`; the first of these that matters to somebody who waits for the
    runner.
    """
    if not runner.online:
        return "offline"
    if session is None or session.silent or not session.connected:
        return "suspect"
    if runner.cordoned:
        return "cordoned"
    return "draining" if runner.draining else "online"


def status_view(
    *,
    state: State,
    now: int,
    cluster: str,
    epoch: int,
    version: str,
    started_at: int,
    watching: Mapping[str, Iterable[WatchedRepo]],
    waiting: list[dict[str, Any]],
    schedules: Iterable[tuple[str, str, str, int | None]],
    troubles: Iterable[tuple[str, int, str | None]],
    offenders: Iterable[tuple[str, str, Mapping[str, int]]],
    put_aside: Iterable[str] = (),
) -> dict[str, Any]:
    """The whole installation at a glance. `watching` maps an observer's name to what it watches; `waiting` says why
    queued jobs wait; `schedules` are what is built by the clock; `troubles` are those of the ports; `offenders` are the
    peers that did most of what they should not; `put_aside` are files of the data folder that were damaged.
    """
    counts = dict.fromkeys(Status, 0)
    for job in state.jobs.values():
        counts[job.state] += 1
    online = [runner for runner in state.runners.values() if runner.online]
    return {
        "dispatcher": {
            "id": cluster,
            "epoch": epoch,
            "version": version,
            "uptime_ms": now - started_at,
            "at": time_text(now),
        },
        "queue": {name.value: counts[name] for name in (Status.QUEUED, Status.RUNNING, Status.BLOCKED, Status.HELD)},
        "waiting": waiting,
        "approvals": [_approval(state.builds[number]) for number in _awaiting(state)],
        "schedules": [
            {"repo": repo, "cron": cron, "timezone": timezone, "next_at": time_text(at)}
            for repo, cron, timezone, at in schedules
        ],
        "runners": {
            "online": len(online),
            "offline": len(state.runners) - len(online),
            "slots": sum(runner.slots for runner in online),
            "busy": sum(len(state.held_by.get(runner.id, ())) for runner in online),
        },
        "ports": [{"trouble": name, "count": count, "last_from": address} for name, count, address in troubles],
        "offenders": [{"peer": name or None, "role": role, "did": dict(did)} for role, name, did in offenders],
        "put_aside": list(put_aside),
        "watching": [
            {"repo": watched.repo, "problem": watched.problem, "observer": observer}
            for observer, repos in sorted(watching.items())
            for watched in repos
        ],
    }


def _awaiting(state: State) -> list[int]:
    """The builds that await approval, oldest first."""
    return sorted(number for numbers in state.awaiting.values() for number in numbers)[:APPROVALS_SHOWN_MAX]


def _approval(build: Build) -> dict[str, Any]:
    return {
        "build": build.id,
        "repo": build.repo,
        "ref": build.ref,
        "sha": build.sha,
        "author": build.author,
        "created_at": time_text(build.created_at),
    }


def note_view(position: int, note: Note, name: str | None = None) -> dict[str, Any]:
    """One line of the journal. `name` is that of a runner, whose `id` is its key."""
    return {
        "position": position,
        "at": time_text(note.at),
        "what": note.what,
        "id": note.id,
        "name": name,
        "build": note.build,
        "state": note.state,
        "reason": note.reason,
    }


def _after(accepted_at: int | None, after_ms: int | None) -> str | None:
    return None if accepted_at is None or after_ms is None else time_text(accepted_at + after_ms)
