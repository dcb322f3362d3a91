"""Records to rows and back.

What belongs here: which column holds which field. What does not: statements, and any judgement about a value.

Rows on their way in are plain tuples in the order of the `*_COLUMNS` beside them: the writer stores tens of thousands
a second, and naming each value again for each row would cost more than storing it. Rows on their way out are read by
position, in the order of the tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from sys import intern
from typing import Any, Final, TypeAlias

from surveil.core.model import Attempt, AttemptState, Build, Job, LogEnd, Note, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.protocol import JobSpec, StepReport, pack_part, unpack_part
from surveil.store import Token
from surveil.store.tables import attempts, builds, jobs, notes, peers, runners, specs, tokens

Row: TypeAlias = tuple[Any, ...]

BUILD_COLUMNS: Final = tuple(builds.c.keys())
BUILD_CHANGES: Final = ("state", "reason", "started_at", "finished_at")
BUILD_KEY: Final = ("id",)
JOB_COLUMNS: Final = tuple(jobs.c.keys())
JOB_CHANGES: Final = (
    "state", "reason", "attempt", "failed", "errored", "lost", "lost_early", "not_before_at", "started_at",
    "finished_at",
)  # fmt: skip
JOB_KEY: Final = ("build", "name")
ATTEMPT_COLUMNS: Final = tuple(attempts.c.keys())
ATTEMPT_CHANGES: Final = (
    "incarnation", "state", "reason", "accepted_at", "started_at", "finished_at", "exit_code", "log_bytes", "steps",
    "isolation", "released",
)  # fmt: skip
ATTEMPT_KEY: Final = ("build", "name", "number")
LOG_END_COLUMNS: Final = ("log_bytes", "key_build", "key_name", "key_number", "key_runner")
RUNNER_COLUMNS: Final = tuple(runners.c.keys())
NOTE_COLUMNS: Final = tuple(column.name for column in notes.c if column.name != "position")
SPEC_COLUMNS: Final = tuple(specs.c.keys())
PEER_COLUMNS: Final = tuple(peers.c.keys())
TOKEN_COLUMNS: Final = tuple(tokens.c.keys())

# Looking a state up by its text is several times quicker than asking the enumeration, and every row has one.
_STATUS: Final = {status.value: status for status in Status}
_ATTEMPT_STATE: Final = {state.value: state for state in AttemptState}
# And the driver takes a plain text at once, while for a member it first looks for an adapter.
_TEXT: Final[Mapping[str, str]] = {state: str(state.value) for state in (*Status, *AttemptState)}

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def split_job(job: str) -> tuple[int, str]:
    """Take `BUILD/NAME` apart. Only our own minds make these, so one that is not of this form is a defect."""
    build, _, name = job.partition("/")
    return int(build), name


def texts(values: Sequence[str]) -> str:
    """Write a list of texts, mostly an empty one."""
    return _dumps(list(values)) if values else "[]"


def texts_of(body: str) -> tuple[str, ...]:
    """Read what `texts` wrote."""
    return () if body == "[]" else tuple(json.loads(body))


# ---- builds


def build_row(build: Build) -> Row:
    """All of a build but its list of jobs, which is the jobs' own rows."""
    return (
        build.id, build.mid, build.repo, build.ref, build.sha, build.event, build.message, build.author,
        build.pipeline_file, build.rule, texts(build.complaints), build.retry_of, build.state, build.reason,
        build.created_at, build.started_at, build.finished_at,
    )  # fmt: skip


def build_change(build: Build) -> Row:
    """What of a build may change, its key, and its state again for the fence."""
    return (build.state, build.reason, build.started_at, build.finished_at, build.id, build.state)


def build_of(row: Sequence[Any], job_ids: Iterable[str]) -> Build:
    """Read a build; `job_ids` are in the order of their positions.

    What most builds have in common is held in memory once.
    """
    return Build(
        id=row[0], mid=row[1], repo=intern(row[2]), ref=intern(row[3]), sha=row[4], event=intern(row[5]),
        message=row[6], author=intern(row[7]), pipeline_file=intern(row[8]), rule=intern(row[9]),
        complaints=texts_of(row[10]), retry_of=row[11], jobs=tuple(job_ids), state=_STATUS[row[12]],
        reason=intern(row[13]), created_at=row[14], started_at=row[15], finished_at=row[16],
    )  # fmt: skip


# ---- specs and jobs


def spec_row(spec: JobSpec) -> tuple[bytes, str]:
    """A spec's digest and its text."""
    body = _dumps(pack_part(spec))
    return sha256(body.encode()).digest(), body


def spec_of(body: str, digest: bytes) -> JobSpec:
    """Read a spec.

    Raises:
        ProtocolError: the text was not written by this version of surveil.
        ValueError: the disk changed it, and other commands would be run than were meant.
    """
    if sha256(body.encode()).digest() != digest:
        raise ValueError("a job's commands are not those that were stored")
    return unpack_part(JobSpec, json.loads(body))


def job_row(job: Job, spec: bytes) -> Row:
    """All of a job; its spec by digest, its repository by its build."""
    return (
        job.build, job.spec.name, job.position, spec, _TEXT[job.state], job.reason, job.attempt, job.failed,
        job.errored, job.lost, texts(job.lost_early), job.not_before_at, job.created_at, job.started_at,
        job.finished_at,
    )  # fmt: skip


def job_change(job: Job) -> Row:
    """What of a job may change, its key, and its state and attempt again for the fence."""
    state = _TEXT[job.state]
    return (
        state, job.reason, job.attempt, job.failed, job.errored, job.lost, texts(job.lost_early), job.not_before_at,
        job.started_at, job.finished_at, job.build, job.spec.name, state, job.attempt,
    )  # fmt: skip


def job_of(row: Sequence[Any], repo: str, spec_by_digest: Mapping[bytes, JobSpec]) -> Job:
    """Read a job."""
    return Job(
        id=f"{row[0]}/{row[1]}", build=row[0], position=row[2], repo=repo, spec=spec_by_digest[row[3]],
        state=_STATUS[row[4]], reason=row[5], attempt=row[6], failed=row[7], errored=row[8], lost=row[9],
        lost_early=texts_of(row[10]), not_before_at=row[11],
        created_at=row[12], started_at=row[13], finished_at=row[14],
    )  # fmt: skip


# ---- attempts


def _steps(steps: Sequence[StepReport]) -> str:
    return _dumps([pack_part(step) for step in steps]) if steps else "[]"


def _steps_of(body: str) -> tuple[StepReport, ...]:
    return () if body == "[]" else tuple(unpack_part(StepReport, step) for step in json.loads(body))


def attempt_row(attempt: Attempt) -> Row:
    """All of an attempt."""
    build, name = split_job(attempt.job)
    return (
        build, name, attempt.number, attempt.runner, attempt.runner_name, attempt.incarnation, _TEXT[attempt.state],
        attempt.reason, attempt.assigned_at, attempt.accepted_at, attempt.started_at, attempt.finished_at,
        attempt.exit_code, attempt.log_bytes, _steps(attempt.steps), attempt.isolation, int(attempt.released),
    )  # fmt: skip


def attempt_change(attempt: Attempt) -> Row:
    """What of an attempt may change, its key, and its state again for the fence."""
    build, name = split_job(attempt.job)
    state = _TEXT[attempt.state]
    return (
        attempt.incarnation, state, attempt.reason, attempt.accepted_at, attempt.started_at,
        attempt.finished_at, attempt.exit_code, attempt.log_bytes, _steps(attempt.steps), attempt.isolation,
        int(attempt.released), build, name, attempt.number, state,
    )  # fmt: skip


def log_end_row(end: LogEnd) -> Row:
    """What a late word says of an attempt's log, and of which attempt of whose."""
    build, name = split_job(end.job)
    return (end.log_bytes, build, name, end.number, end.runner)


def attempt_of(row: Sequence[Any]) -> Attempt:
    """Read an attempt."""
    return Attempt(
        job=f"{row[0]}/{row[1]}", number=row[2], runner=intern(row[3]), runner_name=intern(row[4]), incarnation=row[5],
        state=_ATTEMPT_STATE[row[6]], reason=row[7], assigned_at=row[8], accepted_at=row[9], started_at=row[10],
        finished_at=row[11], exit_code=row[12], log_bytes=row[13], steps=_steps_of(row[14]), isolation=row[15],
        released=bool(row[16]),
    )  # fmt: skip


# ---- runners, the journal, keys and tokens


def runner_row(runner: Runner) -> Row:
    """All of a runner."""
    return (
        runner.id, runner.name, runner.host, runner.software, texts(runner.labels), runner.slots, runner.incarnation,
        runner.birth, int(runner.online), int(runner.draining), runner.cordoned, runner.probation_at,
        runner.quick_errors, runner.seen_at,
    )  # fmt: skip


def runner_of(row: Sequence[Any]) -> Runner:
    """Read a runner."""
    return Runner(
        id=row[0], name=row[1], host=row[2], software=row[3], labels=texts_of(row[4]), slots=row[5], incarnation=row[6],
        birth=row[7], online=bool(row[8]), draining=bool(row[9]), cordoned=row[10], probation_at=row[11],
        quick_errors=row[12], seen_at=row[13],
    )  # fmt: skip


def note_row(note: Note) -> Row:
    """A line of the journal; the database gives it its position."""
    return (note.at, note.what, note.id, note.build, _TEXT.get(note.state, note.state), note.reason)


def note_of(row: Sequence[Any]) -> Note:
    """Read a line of the journal; its position is the row's first value."""
    return Note(at=row[1], what=row[2], id=row[3], build=row[4], state=row[5], reason=row[6])


def peer_row(peer: Peer) -> Row:
    """All of an enrolled key."""
    return (peer.key, peer.role, peer.name, texts(peer.labels), peer.created_at, peer.revoked_at)


def peer_of(row: Sequence[Any]) -> Peer:
    """Read an enrolled key."""
    return Peer(
        key=row[0], role=Role(row[1]), name=row[2], labels=texts_of(row[3]), created_at=row[4], revoked_at=row[5]
    )


def token_row(token: Token) -> Row:
    """All of a join token."""
    return (
        token.id, token.digest, token.role, texts(token.labels), token.uses_left, token.created_at, token.expires_at,
        token.revoked_at,
    )  # fmt: skip


def token_of(row: Sequence[Any]) -> Token:
    """Read a join token."""
    return Token(
        id=row[0], digest=row[1], role=Role(row[2]), labels=texts_of(row[3]), uses_left=row[4], created_at=row[5],
        expires_at=row[6], revoked_at=row[7],
    )  # fmt: skip
