"""Records to rows and back.

What belongs here: which column holds which field. What does not: statements, and any judgement about a value.

Rows on their way in are plain tuples in the order of the `*_COLUMNS` beside them: the writer stores tens of thousands
a second, and naming each value again for each row would cost more than storing it. Rows on their way out are read by
position, in the order of the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from sys import intern
from typing import Any, Final

from sqlalchemy import Table

from surveil.core.model import Attempt, AttemptState, Build, Job, LogEnd, Note, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.core.scopes import Scope, Secret, Source
from surveil.protocol import JobOutput, JobSpec, StepReport, pack_part, unpack_part
from surveil.store import Cluster, Token
from surveil.store.sums import SUM, Guard, Row, summed
from surveil.store.tables import (
    artifacts,
    attempts,
    builds,
    caches,
    cluster,
    jobs,
    notes,
    peers,
    runners,
    secrets,
    specs,
    tokens,
)

BUILD_CHANGES: Final = ("state", "reason", "approved", "started_at", "finished_at")
JOB_KEY: Final = ("build", "name")
JOB_CHANGES: Final = (
    "state", "reason", "attempt", "failed", "errored", "lost", "lost_early", "not_before_at", "started_at",
    "finished_at", "outputs",
)  # fmt: skip
ATTEMPT_KEY: Final = ("build", "name", "number")
ATTEMPT_CHANGES: Final = (
    "incarnation", "state", "reason", "accepted_at", "started_at", "finished_at", "exit_code", "log_bytes", "steps",
    "isolation", "released",
)  # fmt: skip
LOG_END_COLUMNS: Final = ("log_bytes", SUM, "key_build", "key_name", "key_number", "key_runner")
SPEC_COLUMNS: Final = tuple(specs.c.keys())


def _given(table: Table, changes: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of a table that no change writes, in order."""
    return tuple(column.name for column in table.c if column.name not in changes and column.name != SUM)


def _picked(columns: Sequence[str], wanted: Sequence[str]) -> Callable[[Row], Row]:
    """What takes these values from a row that has its columns in this order."""
    return itemgetter(*map(columns.index, wanted))


BUILD_GIVEN: Final = _given(builds, BUILD_CHANGES)
JOB_GIVEN: Final = _given(jobs, JOB_CHANGES)
ATTEMPT_GIVEN: Final = _given(attempts, ATTEMPT_CHANGES)
BUILD_COLUMNS: Final = (*BUILD_GIVEN, *BUILD_CHANGES, SUM)
JOB_COLUMNS: Final = (*JOB_GIVEN, *JOB_CHANGES, SUM)
ATTEMPT_COLUMNS: Final = (*ATTEMPT_GIVEN, *ATTEMPT_CHANGES, SUM)
RUNNER_COLUMNS: Final = (*_given(runners), SUM)
NOTE_COLUMNS: Final = (*_given(notes), SUM)
PEER_COLUMNS: Final = (*_given(peers), SUM)
TOKEN_COLUMNS: Final = (*_given(tokens), SUM)
SECRET_COLUMNS: Final = (*_given(secrets), SUM)
SECRET_KEY: Final = ("name", "repo", "ref", "job")
CLUSTER_COLUMNS: Final = (*_given(cluster), SUM)

_BUILD_CHANGE: Final = _picked(BUILD_COLUMNS, (*BUILD_CHANGES, SUM, *BUILD_GIVEN, "state"))
_JOB_CHANGE: Final = _picked(JOB_COLUMNS, (*JOB_CHANGES, SUM, *JOB_GIVEN, "state", "attempt"))
_ATTEMPT_CHANGE: Final = _picked(ATTEMPT_COLUMNS, (*ATTEMPT_CHANGES, SUM, *ATTEMPT_GIVEN, "state"))

BUILDS: Final = Guard(builds, "build {id}", BUILD_COLUMNS[:-1])
JOBS: Final = Guard(jobs, "job {build}/{name}", JOB_COLUMNS[:-1])
ATTEMPTS: Final = Guard(attempts, "attempt {number} at job {build}/{name}", ATTEMPT_COLUMNS[:-1])
RUNNERS: Final = Guard(runners, "runner {name}", RUNNER_COLUMNS[:-1])
NOTES: Final = Guard(notes, "line {position} of the journal", NOTE_COLUMNS[:-1])
PEERS: Final = Guard(peers, "the key of {role} {name}", PEER_COLUMNS[:-1])
TOKENS: Final = Guard(tokens, "token {id}", TOKEN_COLUMNS[:-1])
SECRETS: Final = Guard(secrets, "the secret {name}", SECRET_COLUMNS[:-1])
ARTIFACTS: Final = Guard(artifacts, "artifact {artifact} of attempt {number} at job {build}/{name}", _given(artifacts))
CACHES: Final = Guard(caches, "the cache {key} of {repo}", _given(caches))
CLUSTER: Final = Guard(cluster, "the cluster's identity", CLUSTER_COLUMNS[:-1])
GUARDS: Final = (CLUSTER, BUILDS, JOBS, ATTEMPTS, RUNNERS, NOTES, PEERS, TOKENS, SECRETS, ARTIFACTS, CACHES)
"""Of all tables but that of specs, whose rows are found by the digest of all that they hold."""

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
    return summed((
        build.id, build.mid, build.repo, build.ref, build.sha, build.event, build.base, int(build.trusted),
        None if build.paths is None else texts(build.paths),
        None if build.inputs is None else _dumps(dict(build.inputs)),
        build.message, build.author, build.pipeline_file, build.rule, texts(build.complaints), build.retry_of,
        build.created_at, _TEXT[build.state], build.reason, build.approved, build.started_at, build.finished_at,
    ))  # fmt: skip


def build_change(build: Build) -> Row:
    """What of a build may change with the row's sum, what never does, its key first, and its state again for the
    fence.
    """
    return _BUILD_CHANGE(build_row(build))


def build_of(row: Sequence[Any], job_ids: Iterable[str]) -> Build:
    """Read a build; `job_ids` are in the order of their positions.

    What most builds have in common is held in memory once.
    """
    BUILDS.check(row)
    return Build(
        id=row[0], mid=row[1], repo=intern(row[2]), ref=intern(row[3]), sha=row[4], event=intern(row[5]),
        base=intern(row[6]), trusted=bool(row[7]), paths=None if row[8] is None else texts_of(row[8]),
        inputs=None if row[9] is None else json.loads(row[9]), message=row[10], author=intern(row[11]),
        pipeline_file=intern(row[12]), rule=intern(row[13]), complaints=texts_of(row[14]), retry_of=row[15],
        jobs=tuple(job_ids), state=_STATUS[row[16]], reason=intern(row[17]), approved=intern(row[18]),
        created_at=row[19], started_at=row[20], finished_at=row[21],
    )  # fmt: skip


# ---- jobs


def job_row(job: Job, spec: bytes) -> Row:
    """All of a job; its spec by digest, its repository by its build."""
    return summed((
        job.build, job.spec.name, job.position, spec, job.created_at, _TEXT[job.state], job.reason, job.attempt,
        job.failed, job.errored, job.lost, texts(job.lost_early), job.not_before_at, job.started_at, job.finished_at,
        _outputs(job.outputs),
    ))  # fmt: skip


def _outputs(outputs: Sequence[JobOutput]) -> str | None:
    return _dumps([[output.name, output.value] for output in outputs]) if outputs else None


def _outputs_of(body: str | None) -> tuple[JobOutput, ...]:
    return () if body is None else tuple(JobOutput(name=name, value=value) for name, value in json.loads(body))


def job_change(job: Job, spec: bytes) -> Row:
    """What of a job may change with the row's sum, what never does, its key first, and its state and attempt again for
    the fence.
    """
    return _JOB_CHANGE(job_row(job, spec))


def job_skipped(row: Sequence[Any], attempts: int) -> dict[str, Any]:
    """What changes in a job's row that goes on so many attempts later."""
    JOBS.check(row)
    values = dict(zip(jobs.c.keys(), row, strict=True))
    values["attempt"] += attempts
    changed = {"attempt": values["attempt"], SUM: JOBS.sum(tuple(values.values()))}
    return changed | {f"key_{name}": values[name] for name in JOB_KEY}


def job_id_of(row: Sequence[Any]) -> str:
    """Read which job it is."""
    JOBS.check(row)
    return f"{row[0]}/{row[1]}"


def job_of(row: Sequence[Any], repo: str, spec_by_digest: Mapping[bytes, JobSpec]) -> Job:
    """Read a job."""
    JOBS.check(row)
    return Job(
        id=f"{row[0]}/{row[1]}", build=row[0], position=row[2], repo=repo, spec=spec_by_digest[row[3]],
        state=_STATUS[row[4]], reason=row[5], attempt=row[6], failed=row[7], errored=row[8], lost=row[9],
        lost_early=texts_of(row[10]), not_before_at=row[11],
        created_at=row[12], started_at=row[13], finished_at=row[14], outputs=_outputs_of(row[15]),
    )  # fmt: skip


# ---- attempts


def _steps(steps: Sequence[StepReport]) -> str:
    return _dumps([_step(step) for step in steps]) if steps else "[]"


def _step(step: StepReport) -> dict[str, Any]:
    packed = pack_part(step)
    if not step.image:
        del packed["image"]  # Rows of earlier versions lack it, and their sums are those of such a text.
    return packed


def _steps_of(body: str) -> tuple[StepReport, ...]:
    return () if body == "[]" else tuple(unpack_part(StepReport, step) for step in json.loads(body))


def attempt_row(attempt: Attempt) -> Row:
    """All of an attempt."""
    build, name = split_job(attempt.job)
    return summed((
        build, name, attempt.number, attempt.runner, attempt.runner_name, attempt.assigned_at, attempt.incarnation,
        _TEXT[attempt.state], attempt.reason, attempt.accepted_at, attempt.started_at, attempt.finished_at,
        attempt.exit_code, attempt.log_bytes, _steps(attempt.steps), attempt.isolation, int(attempt.released),
    ))  # fmt: skip


def attempt_change(attempt: Attempt) -> Row:
    """What of an attempt may change with the row's sum, what never does, its key first, and its state again for the
    fence.
    """
    return _ATTEMPT_CHANGE(attempt_row(attempt))


def log_end_row(attempt: Attempt, end: LogEnd) -> Row:
    """What a late word says of an attempt's log, with the sum that its row then has, and of which attempt of whose."""
    row = attempt_row(replace(attempt, log_bytes=end.log_bytes, released=True))
    return (end.log_bytes, row[-1], row[0], row[1], row[2], end.runner)


def attempt_of(row: Sequence[Any]) -> Attempt:
    """Read an attempt."""
    ATTEMPTS.check(row)
    return Attempt(
        job=f"{row[0]}/{row[1]}", number=row[2], runner=intern(row[3]), runner_name=intern(row[4]), incarnation=row[5],
        state=_ATTEMPT_STATE[row[6]], reason=row[7], assigned_at=row[8], accepted_at=row[9], started_at=row[10],
        finished_at=row[11], exit_code=row[12], log_bytes=row[13], steps=_steps_of(row[14]), isolation=row[15],
        released=bool(row[16]),
    )  # fmt: skip


# ---- runners, the journal, keys and tokens


def runner_row(runner: Runner) -> Row:
    """All of a runner."""
    return summed((
        runner.id, runner.name, runner.host, runner.software, texts(runner.labels), runner.slots, runner.incarnation,
        runner.birth, int(runner.online), int(runner.draining), runner.cordoned, runner.probation_at,
        runner.quick_errors, runner.seen_at,
    ))  # fmt: skip


def runner_of(row: Sequence[Any]) -> Runner:
    """Read a runner."""
    RUNNERS.check(row)
    return Runner(
        id=row[0], name=row[1], host=row[2], software=row[3], labels=texts_of(row[4]), slots=row[5], incarnation=row[6],
        birth=row[7], online=bool(row[8]), draining=bool(row[9]), cordoned=row[10], probation_at=row[11],
        quick_errors=row[12], seen_at=row[13],
    )  # fmt: skip


def note_row(position: int, note: Note) -> Row:
    """A line of the journal at its position."""
    return summed((position, note.at, note.what, note.id, note.build, _TEXT.get(note.state, note.state), note.reason))


def note_of(row: Sequence[Any]) -> Note:
    """Read a line of the journal; its position is the row's first value."""
    NOTES.check(row)
    return Note(at=row[1], what=row[2], id=row[3], build=row[4], state=row[5], reason=row[6])


def cluster_row(held: Cluster, *, first_build: int, copied_at: int | None = None) -> dict[str, Any]:
    """The one row that says which installation this is."""
    return dict(zip(CLUSTER_COLUMNS, summed((1, held.id, held.epoch, first_build, copied_at)), strict=True))


def peer_row(peer: Peer) -> Row:
    """All of an enrolled key."""
    return summed((peer.key, peer.role.value, peer.name, texts(peer.labels), peer.created_at, peer.revoked_at))


def peer_of(row: Sequence[Any]) -> Peer:
    """Read an enrolled key."""
    PEERS.check(row)
    return Peer(
        key=row[0], role=Role(row[1]), name=row[2], labels=texts_of(row[3]), created_at=row[4], revoked_at=row[5]
    )


def token_row(token: Token) -> Row:
    """All of a join token."""
    return summed((
        token.id, token.digest, token.role.value, texts(token.labels), token.uses_left, token.created_at,
        token.expires_at, token.revoked_at,
    ))  # fmt: skip


def token_of(row: Sequence[Any]) -> Token:
    """Read a join token."""
    TOKENS.check(row)
    return Token(
        id=row[0], digest=row[1], role=Role(row[2]), labels=texts_of(row[3]), uses_left=row[4], created_at=row[5],
        expires_at=row[6], revoked_at=row[7],
    )  # fmt: skip


def secret_row(secret: Secret) -> Row:
    """All of a secret."""
    scope = secret.scope
    return summed((
        secret.name, scope.repo, scope.ref, scope.job, secret.source.value, secret.key, secret.encrypted,
        secret.created_at, secret.changed_at,
    ))  # fmt: skip


def secret_of(row: Sequence[Any]) -> Secret:
    """Read a secret, which stays encrypted."""
    SECRETS.check(row)
    return Secret(
        name=row[0], scope=Scope(repo=row[1], ref=row[2], job=row[3]), source=Source(row[4]), key=row[5],
        encrypted=row[6], created_at=row[7], changed_at=row[8],
    )  # fmt: skip
