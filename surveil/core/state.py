"""All that the dispatcher's mind holds in memory, and the one door through which records change.

What belongs here: the records of open builds, the volatile sessions and deadlines of runners, the indexes
over them, and the collection of what changed. What does not: why anything changes (dispatch, leases,
schedule). `put` checks the legal steps, keeps the indexes and notes the change, so that forgetting to persist
is impossible.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from surveil.core.deadlines import Deadlines
from surveil.core.model import (
    NEXT,
    NEXT_ATTEMPT,
    OPEN,
    VERDICTS,
    Attempt,
    AttemptId,
    AttemptState,
    Build,
    Job,
    Note,
    Record,
    Runner,
    Status,
)
from surveil.core.ready import ReadyJobs

SETTLED_MIDS_MAX: Final = 10_000
"""More than one batch of events can hold, so that a fact repeated within a batch finds its build before the
store does.
"""


@dataclass(slots=True)
class Session:
    """A runner's present incarnation as its own words show it; gone with our process, and told again by its next
    `Hello`.
    """

    incarnation: int
    seq: int
    heard_at: int
    """When `seq` was processed: the anchor on our clock for leases that the runner counts from when it sent `seq`."""
    refusing: bool = False
    """It said that it takes nothing now, though it has slots: its disk is full, or it just refused something."""
    load_percent: int = 0
    disk_free_mib: int = 0
    mirrors: tuple[str, ...] = ()
    connected: bool = True
    parting: str = ""
    """How it left, for the reason that people read; empty for one that just fell silent."""
    silent: bool = False
    """Its leases ran out without a word; it is out of the pool until it speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this dispatcher is, in what it says to runners. `epoch` grows with each start; `cluster` stays for ever."""

    cluster: str
    epoch: int
    bulk_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one batch did, for one transaction: `new` records were not stored before, `changed` ones were."""

    new: tuple[Record, ...]
    changed: tuple[Record, ...]
    notes: tuple[Note, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.notes)


@dataclass(slots=True)
class State:
    """The open part of the world. Builds leave it when they are settled; the store keeps them."""

    identity: Identity
    next_build: int = 1
    builds: dict[int, Build] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)

    # Volatile: told again by the runners after a restart of ours.
    sessions: dict[str, Session] = field(default_factory=dict)
    leases: Deadlines[AttemptId] = field(default_factory=Deadlines)
    repeats: Deadlines[AttemptId] = field(default_factory=Deadlines)
    """When an unanswered `Assign`, or a `Cancel` whose attempt has not ended, is said again."""
    silences: Deadlines[str] = field(default_factory=Deadlines)
    """When each runner counts as silent, unless it speaks."""
    probations: Deadlines[str] = field(default_factory=Deadlines)
    breaker_at: int | None = None
    """When so many runners fell silent together that we began to suspect ourselves."""
    hellos: tuple[int, int] = (0, 0)
    """The present second, and how many runners introduced themselves in it."""

    # Indexes over the records above.
    by_mid: dict[str, int] = field(default_factory=dict)
    """Builds by the fact that asked for them; the newest `SETTLED_MIDS_MAX` settled ones stay, until the store
    certainly answers for them.
    """
    _settled_mids: deque[str] = field(default_factory=deque)
    ready: ReadyJobs = field(default_factory=ReadyJobs)
    held_by: dict[str, dict[AttemptId, None]] = field(default_factory=dict)
    """Attempts that take a slot of each runner: the open ones, and cancelled ones that have not ended."""
    running_of: dict[str, int] = field(default_factory=dict)
    """How many jobs of each repository run."""
    standing: dict[int, dict[Status, int]] = field(default_factory=dict)
    """How many jobs of each build stand where; what is nowhere is not there."""
    blocked_of: dict[int, dict[str, None]] = field(default_factory=dict)
    """The jobs of each build that wait for others, in the build's order."""
    roomy: dict[str, None] = field(default_factory=dict)
    """Runners that may have a free slot, in the order in which they got one."""
    warm: dict[str, dict[str, None]] = field(default_factory=dict)
    """Runners that have a mirror of each repository."""

    _fresh: dict[tuple[str, object], None] = field(default_factory=dict)
    _touched: dict[tuple[str, object], Record] = field(default_factory=dict)
    _notes: list[Note] = field(default_factory=list)

    # ---- the door --------------------------------------------------------------------------------

    def put(self, record: Record, now: int) -> None:
        """Take a new or changed record: the only way anything here changes.

        Raises:
            AssertionError: the step from the old state to the new one is not legal, which is a defect of ours.
        """
        match record:
            case Job():
                old: Record | None = self.jobs.get(record.id)
                self._put_job(record)
            case Attempt():
                old = self.attempts.get(record.id)
                self._put_attempt(record)
            case Build():
                old = self.builds.get(record.id)
                self._put_build(record)
            case Runner():
                old = self.runners.get(record.id)
                self.runners[record.id] = record
            case _:
                assert_never(record)
        key = (type(record).__name__, record.id)
        if old is None:
            self._fresh[key] = None
        self._touched[key] = record
        self._note_step(old, record, now)

    def take_changes(self) -> Changes:
        """Everything put since the last call, newest version of each record, for one transaction."""
        changes = Changes(
            new=tuple(record for key, record in self._touched.items() if key in self._fresh),
            changed=tuple(record for key, record in self._touched.items() if key not in self._fresh),
            notes=tuple(self._notes),
        )
        self._fresh, self._touched, self._notes = {}, {}, []
        return changes

    def note(self, note: Note) -> None:
        """Write a line of the journal that no change of a record's state would write."""
        self._notes.append(note)

    def _put_job(self, job: Job) -> None:
        old = self.jobs.get(job.id)
        assert old is None or old.state == job.state or job.state in NEXT[old.state], (
            f"{job.id}: {old.state} to {job.state}"
        )
        assert old is None or job.attempt >= old.attempt, (
            f"{job.id}: attempt {old.attempt} was followed by {job.attempt}"
        )
        self.jobs[job.id] = job
        if old is None or old.state != job.state:
            self._stand(job, None if old is None else old.state)
        was_running, runs = old is not None and old.state == Status.RUNNING, job.state == Status.RUNNING
        if was_running != runs:
            count = self.running_of.get(job.repo, 0) + (1 if runs else -1)
            if count:
                self.running_of[job.repo] = count
            else:
                del self.running_of[job.repo]
        if job.state == Status.QUEUED:
            self.ready.add(job)
        else:
            self.ready.discard(job.id)

    def _stand(self, job: Job, before: Status | None) -> None:
        """Count where a job stands now, and no more where it stood before."""
        standing = self.standing.setdefault(job.build, {})
        standing[job.state] = standing.get(job.state, 0) + 1
        if before is not None:
            standing[before] -= 1
            if not standing[before]:
                del standing[before]
        if job.state == Status.BLOCKED:
            self.blocked_of.setdefault(job.build, {})[job.id] = None
        elif before == Status.BLOCKED:
            del self.blocked_of[job.build][job.id]

    def _put_attempt(self, attempt: Attempt) -> None:
        old = self.attempts.get(attempt.id)
        assert old is None or old.state == attempt.state or attempt.state in NEXT_ATTEMPT[old.state], (
            f"{attempt.job} attempt {attempt.number}: {old.state} to {attempt.state}"
        )
        self.attempts[attempt.id] = attempt
        if attempt.state in OPEN:
            self.held_by.setdefault(attempt.runner, {})[attempt.id] = None
        elif old is not None and old.state in OPEN:
            self.leave(attempt)

    def _put_build(self, build: Build) -> None:
        old = self.builds.get(build.id)
        assert old is None or old.state not in VERDICTS or old.state == build.state, (
            f"build {build.id}: {old.state} is final"
        )
        self.builds[build.id] = build
        self.by_mid[build.mid] = build.id
        self.next_build = max(self.next_build, build.id + 1)

    def _note_step(self, old: Record | None, record: Record, now: int) -> None:
        match record:
            case Runner():
                step = _pool_state(record)
                if old is None or not isinstance(old, Runner) or _pool_state(old) != step:
                    self._notes.append(
                        Note(at=now, what="runner", id=record.id, build=None, state=step, reason=record.cordoned)
                    )
            case Build() | Job() | Attempt():
                changed = old is None or isinstance(old, Runner) or old.state != record.state
                if changed and not _goes_without_saying(old, record):
                    self._notes.append(_note_of(record, now))
            case _:
                assert_never(record)

    # ---- indexes that follow runners -------------------------------------------------------------

    def leave(self, attempt: Attempt) -> None:
        """Free the slot that the attempt took, and its deadlines."""
        held = self.held_by.get(attempt.runner)
        if held is not None:
            held.pop(attempt.id, None)
            if not held:
                del self.held_by[attempt.runner]
        self.leases.discard(attempt.id)
        self.repeats.discard(attempt.id)
        self.roomy[attempt.runner] = None

    def linger(self, attempt: Attempt, until_at: int, repeat_at: int) -> None:
        """Let a cancelled attempt keep its slot until its runner says that it ended, or the lease runs out."""
        self.held_by.setdefault(attempt.runner, {})[attempt.id] = None
        self.leases.set(attempt.id, until_at)
        self.repeats.set(attempt.id, repeat_at)

    def attempts_of(self, runner: str) -> list[Attempt]:
        """The attempts that take a slot of this runner, oldest first."""
        return [self.attempts[key] for key in self.held_by.get(runner, ())]

    def forget(self, build: Build) -> None:
        """Drop a settled build from memory; late words about it are answered as such."""
        for job_id in build.jobs:
            job = self.jobs.pop(job_id)
            for number in range(1, job.attempt + 1):
                self.attempts.pop((job_id, number), None)
        del self.builds[build.id]
        self.standing.pop(build.id, None)
        self.blocked_of.pop(build.id, None)
        self._settled_mids.append(build.mid)
        if len(self._settled_mids) > SETTLED_MIDS_MAX:
            del self.by_mid[self._settled_mids.popleft()]

    # ---- loading and checking --------------------------------------------------------------------

    @classmethod
    def load(cls, records: Iterable[Record], *, identity: Identity, next_build: int) -> State:
        """The state after a restart: what the store held of open builds, and every runner. Nothing counts as
        changed.
        """
        state = cls(identity=identity, next_build=next_build)
        for record in records:
            state.put(record, 0)
        state.take_changes()
        return state

    def check(self) -> None:
        """Assert that records, indexes and deadlines agree. For tests and simulation; it looks at everything."""
        for job in self.jobs.values():
            assert job.build in self.builds, f"{job.id} belongs to no open build"
            assert (job.state == Status.QUEUED) == (job.id in self.ready), (
                f"{job.id} is {job.state}, yet wrongly in or out of the queue"
            )
            if job.state == Status.RUNNING:
                assert self.attempts[job.id, job.attempt].state in OPEN, f"{job.id} runs without an open attempt"
        for attempt in self.attempts.values():
            if attempt.state in OPEN:
                job = self.jobs[attempt.job]
                assert job.state == Status.RUNNING, (
                    f"{attempt.job} is {job.state} while attempt {attempt.number} is open"
                )
                assert job.attempt == attempt.number, f"{attempt.job} has two open attempts"
                assert attempt.id in self.leases, f"{attempt.job} attempt {attempt.number} is open without a lease"
        for runner, held in self.held_by.items():
            for key in held:
                assert self.attempts[key].runner == runner, f"{key} is counted at a stranger"
        for key in self.leases:
            assert key in self.held_by.get(self.attempts[key].runner, {}), f"{key} has a lease and takes no slot"
        for build in self.builds.values():
            states = [self.jobs[job_id].state for job_id in build.jobs]
            assert self.standing.get(build.id, {}) == Counter(states), f"the jobs of build {build.id} are miscounted"
            blocked = [job_id for job_id in build.jobs if self.jobs[job_id].state == Status.BLOCKED]
            assert list(self.blocked_of.get(build.id, ())) == blocked, f"build {build.id} blocks others than it says"
        for repo, count in self.running_of.items():
            real = sum(job.state == Status.RUNNING for job in self.jobs.values() if job.repo == repo)
            assert count == real, f"{repo} runs {real} jobs and {count} are counted"


def _goes_without_saying(old: Record | None, record: Build | Job | Attempt) -> bool:
    """Whether the journal says it already: a new job by its build, a running job or build by its attempt, an attempt's
    success by its job. That an attempt was handed out is said by its record and, a moment later, by what its runner
    makes of it.
    """
    match record:
        case Job():
            return record.state == Status.RUNNING or (old is None and record.state in {Status.QUEUED, Status.BLOCKED})
        case Build():
            return record.state == Status.RUNNING
        case Attempt():
            return record.state in {AttemptState.ASSIGNED, AttemptState.PASSED}
        case _:
            assert_never(record)


def _pool_state(runner: Runner) -> str:
    if not runner.online:
        return "offline"
    if runner.cordoned:
        return "cordoned"
    return "draining" if runner.draining else "online"


def _note_of(record: Build | Job | Attempt, now: int) -> Note:
    match record:
        case Build():
            return Note(
                at=now, what="build", id=str(record.id), build=record.id, state=record.state, reason=record.reason
            )
        case Job():
            return Note(at=now, what="job", id=record.id, build=record.build, state=record.state, reason=record.reason)
        case Attempt():
            name = f"{record.job}#{record.number}"
            build = int(record.job.partition("/")[0])
            return Note(at=now, what="attempt", id=name, build=build, state=record.state, reason=record.reason)
        case _:
            assert_never(record)
