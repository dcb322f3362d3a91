"""What the dispatcher knows: builds, jobs, attempts and runners, their states, and the legal steps between these.

What belongs here: frozen records and the tables of legal steps. What does not: how records are kept together
(state) and why they change (dispatch). Records change by `frozen.replace` and pass through `State.put`, nowhere
else. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from surveil.core.states import WRONG
from surveil.frozen import dataclass, members_at_hand
from surveil.protocol import JobOutput, JobSpec, StepReport


@members_at_hand
class Status(StrEnum):
    """Where a job, and the build that it belongs to, stands."""

    BLOCKED = "blocked"
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@members_at_hand
class AttemptState(StrEnum):
    """Where one try at a job stands."""

    ASSIGNED = "assigned"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    LOST = "lost"


VERDICTS: Final = frozenset({Status.PASSED, Status.FAILED, Status.ERRORED, Status.CANCELLED, Status.SKIPPED})
"""The states that nothing leaves."""

NEXT: Final[Mapping[Status, frozenset[Status]]] = {
    Status.BLOCKED: frozenset({Status.QUEUED, Status.SKIPPED, Status.CANCELLED, Status.ERRORED}),
    Status.HELD: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.ERRORED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.ERRORED}),
    Status.RUNNING: VERDICTS - {Status.SKIPPED} | {Status.QUEUED, Status.HELD},
} | {verdict: frozenset() for verdict in VERDICTS}
"""The legal steps of a job. From `running` back to `queued` is a new attempt; nothing is ever resumed."""

NEXT_ATTEMPT: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.ASSIGNED: frozenset(AttemptState) - {AttemptState.ASSIGNED},
    AttemptState.RUNNING: frozenset(AttemptState) - {AttemptState.ASSIGNED, AttemptState.RUNNING},
    # A runner may come back for an attempt that was given up, as long as no newer one was handed out.
    AttemptState.LOST: frozenset({AttemptState.RUNNING}),
    AttemptState.PASSED: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.ERRORED: frozenset(),
    AttemptState.CANCELLED: frozenset(),
}

OPEN: Final = frozenset({AttemptState.ASSIGNED, AttemptState.RUNNING})
"""The attempts whose runner we trust to be at work."""

TOLD: Final = frozenset({AttemptState.PASSED, AttemptState.FAILED, AttemptState.ERRORED})
"""The attempts whose runner said how they ended."""

GIVEN_UP: Final = frozenset({AttemptState.CANCELLED, AttemptState.LOST})
"""The attempts that ended without their runner's word; it may still have some of their log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Everything done for one commit of one ref. `mid` is the name of the fact that asked for it.

    One that is not `trusted` waits until it is `approved`, which says by whom, and its pipeline is that of its `base`.
    """

    id: int
    mid: str
    repo: str
    ref: str
    sha: str
    event: str
    base: str = ""
    trusted: bool = True
    paths: tuple[str, ...] | None = None
    """The files that its commit changes, None where nobody knows."""
    inputs: Mapping[str, str] | None = None
    message: str
    author: str
    pipeline_file: str
    rule: str
    complaints: tuple[str, ...]
    retry_of: int | None
    jobs: tuple[str, ...]
    state: Status
    reason: str
    approved: str = ""
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None

    @property
    def awaits_approval(self) -> bool:
        """Whether nothing of it may run before a person says so."""
        return not self.trusted and not self.approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One node of a build's graph. `attempt` is the number of the newest try, 0 before the first; it is the fence."""

    id: str
    build: int
    position: int
    repo: str
    spec: JobSpec
    state: Status
    reason: str
    attempt: int = 0
    failed: int = 0
    errored: int = 0
    lost: int = 0
    lost_early: tuple[str, ...] = ()
    not_before_at: int = 0
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    outputs: tuple[JobOutput, ...] = ()
    """What the attempt that decided put out for the jobs that need this one."""

    @property
    def decided_by(self) -> int:
        """The number of the attempt whose verdict it has; 0 where it has none, or not from an attempt of its own."""
        return self.attempt if self.state in {Status.PASSED, Status.FAILED} else 0

    @property
    def counts_as(self) -> Status:
        """What its state means for its build and for those that need it: a failure that it may have is none."""
        tolerated = self.spec.continue_on_error and self.state in WRONG
        return Status.PASSED if tolerated else self.state


AttemptId: TypeAlias = tuple[str, int]
"""A job's id and the attempt's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a job. `accepted_at` is when its runner's word of acceptance was processed; steps count from there."""

    job: str
    number: int
    runner: str
    runner_name: str
    incarnation: int
    state: AttemptState
    reason: str
    assigned_at: int
    accepted_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    exit_code: int | None = None
    steps: tuple[StepReport, ...] = ()
    isolation: str = ""
    log_bytes: int = 0
    """How long the whole log is once `log_end` is known; until then, how much of it its runner spoke of at least."""
    released: bool = False
    """Of a lost or cancelled one: its runner has said its last word about it, and was told so."""

    @property
    def id(self) -> AttemptId:
        """Its job and number."""
        return (self.job, self.number)

    @property
    def log_end(self) -> int | None:
        """How long its whole log is; None until its runner has said how it ended."""
        return self.log_bytes if self.released or self.state in TOLD else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """How long the log of an attempt is that was given up and has left memory, by the word of this runner."""

    job: str
    number: int
    runner: str
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """An enrolled runner, by its key. What changes with each heartbeat is in its `Session`, not here."""

    id: str
    name: str
    host: str = ""
    software: str = ""
    labels: tuple[str, ...] = ()
    slots: int = 0
    incarnation: int = 0
    birth: int | None = None
    """Of the process that was welcomed in this incarnation: another one with the same is a copy."""
    online: bool = False
    draining: bool = False
    cordoned: str = ""
    """Why it gets no work; empty when it does."""
    probation_at: int | None = None
    """When a runner that we cordoned ourselves may prove itself; None when a person cordoned it."""
    quick_errors: int = 0
    seen_at: int = 0


Record: TypeAlias = Build | Job | Attempt | Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of the journal: what happened to what, and why, in a sentence. `what` is `build`, `job`,
    `attempt`, `runner` or `dispatcher`.
    """

    at: int
    what: str
    id: str
    build: int | None
    state: str
    reason: str
