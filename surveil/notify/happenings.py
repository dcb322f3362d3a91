"""What happens, as documents for programs: a commit came, a build, a job or a runner changed, a log was written.

What belongs here: pure functions from a line of the journal, and the records that it is about, to events. What does
not: publishing them (`exchange`).

A document follows from its line and from what never changes, so it is the same whenever it is made: its id tells
whoever had it before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from surveil.answer.views import time_text
from surveil.core.model import VERDICTS, Attempt, Build, Job, Note
from surveil.frozen import dataclass
from surveil.notify.summary import inert
from surveil.screen.words import first_line
from surveil.store import BuildDetail

KINDS: Final = ("commit", "build", "job", "runner", "log")
"""What can be told. A log is told line by line once its job is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `state` is the second word of its routing key."""

    id: str
    kind: str
    state: str
    at: int
    document: dict[str, Any]


def events_of_build(position: int, note: Note, detail: BuildDetail) -> Iterator[Event]:
    """What a line about a build, a job or an attempt tells."""
    build = detail.build
    if note.what == "build":
        if note.state not in VERDICTS:
            yield _event(position, "commit", "seen", note, _commit(build))
        yield _event(position, "build", note.state, note, {**_commit(build), "reason": note.reason})
        return
    name, _, number = note.id.partition("#")
    job = next((each for each in detail.jobs if each.id == name), None)
    if job is None:
        return
    attempt = int(number) if number else None
    fields = {**_commit(build), "job_id": job.id, "job": job.spec.name, "attempt": attempt, "reason": note.reason}
    runner = next((each for each in detail.attempts if each.id == (job.id, attempt)), None)
    fields["runner"] = None if runner is None else runner.runner_name
    yield _event(position, "job", note.state, note, fields)


def event_of_runner(position: int, note: Note, name: str) -> Event:
    """What a line about a runner tells."""
    return _event(position, "runner", note.state, note, {"runner": name, "reason": note.reason})


def log_line(job: Job, attempt: Attempt, at: int, message: str, *, severity: str) -> dict[str, Any]:
    """A line of a log that begins at byte `at`."""
    return {
        "event": "log",
        "id": f"{job.id}#{attempt.number}@{at}",
        "timestamp": time_text(attempt.finished_at or attempt.assigned_at),
        "service": "runner",
        "runner": attempt.runner_name,
        "build": job.build,
        "job_id": job.id,
        "attempt": attempt.number,
        "message": message,
        "severity": severity,
    }


def _event(position: int, kind: str, state: str, note: Note, fields: dict[str, Any]) -> Event:
    number = f"{position}-{kind}"
    document = {"event": kind, "id": number, "timestamp": time_text(note.at), "state": state, **fields}
    return Event(id=number, kind=kind, state=state, at=note.at, document=document)


def _commit(build: Build) -> dict[str, Any]:
    return {
        "build": build.id,
        "repo": build.repo,
        "ref": build.ref,
        "sha": build.sha,
        "author": inert(build.author),
        "subject": inert(first_line(build.message)),
        "asked_by": build.event,
    }
