"""All that the dispatcher's mind holds in memory, and the one door through which records change.

What belongs here: the records of open builds, the volatile sessions and deadlines of runners, the indexes
over them, and the collection of what changed. What does not: why anything changes (dispatch, leases,
schedule). `put` checks the legal steps, keeps the indexes and notes the change, so that forgetting to persist
is impossible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from enum import StrEnum
from typing import Final, assert_never

from surveil.core.deadlines import Deadlines
from surveil.core.groups import Groups
from surveil.core.introductions import Introductions
from surveil.core.journal import attempt_line, build_line, job_line, runner_line
from surveil.core.model import (
    GIVEN_UP,
    NEXT,
    NEXT_ATTEMPT,
    OPEN,
    VERDICTS,
    Attempt,
    AttemptId,
    Build,
    Job,
    LogEnd,
    Note,
    Record,
    Runner,
    Status,
)
from surveil.core.ready import ReadyJobs
from surveil.frozen import dataclass
from surveil.protocol import MIRRORS_MAX

SETTLED_MIDS_MAX: Final = 10_000
"""More than one batch of events can hold, so that a fact repeated within a batch finds its build before the
store does.
"""


PAST_MAX: Final = 10_000
"""Whoever comes back after more attempts than these were given up is turned away all the same, and no line says so."""


class Parting(StrEnum):
    """How a runner left, in words for people."""

    NONE = "stopped answering"
    CLOSED = "closed its connection"
    GOODBYE = "said goodbye"
    REVOKED = "was revoked"


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
    disk_free_mib: int | None = None
    """What its last heartbeat said; None before its first."""
    mirrors: dict[str, None] = field(default_factory=dict)
    """The repositories that it has a mirror of, at most `MIRRORS_MAX`."""
    connected: bool = True
    parting: Parting = Parting.NONE
    """How it left, which people read in the reason of what was lost."""
    trusted_until_at: int = 0
    """When an order on its last word would come with a lease that is over: until it speaks again it gets none."""
    suspected_at: int | None = None
    """When the journal was told that its connection closed."""
    doubted_at: int | None = None
    """When another process came with its key; if it speaks after that, it is the other one that is a copy."""
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
    """What one batch did, for one transaction: `new` records were not stored before, `changed` ones were; `log_ends`
    are of attempts that memory does not hold.
    """

    new: tuple[Record, ...]
    changed: tuple[Record, ...]
    notes: tuple[Note, ...]
    log_ends: tuple[LogEnd, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.notes or self.log_ends)


_NO_CHANGES: Final = Changes(new=(), changed=(), notes=())
"""What most batches amount to: beats, and words that are answered."""


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
    untold: dict[AttemptId, str] = field(default_factory=dict)
    """Open attempts that are not said again, and why: nobody knows whether their runners have them."""
    """When an unanswered `Assign`, or a `Cancel` whose attempt has not ended, is said again."""
    silences: Deadlines[str] = field(default_factory=Deadlines)
    """When each runner counts as silent, unless it speaks."""
    probations: Deadlines[str] = field(default_factory=Deadlines)
    logged: dict[AttemptId, int] = field(default_factory=dict)
    """How much log there is of each attempt that takes a slot, by its runner's last word."""
    breaker_at: int | None = None
    """When so many runners were missed at once that we began to suspect ourselves."""
    introductions: Introductions = field(default_factory=Introductions)

    copies: dict[str, int] = field(default_factory=dict)
    """When a copy of each runner was last written into the journal."""
    suspicions: dict[str, int] = field(default_factory=dict)
    """When a closed connection of each runner was last written into the journal."""
    recovered_at: int = 0
    """When this process took up what an earlier one had stored."""
    past: dict[AttemptId, Attempt] = field(default_factory=dict)
    """Attempts of builds that left memory whose runners may still come back with them; the newest `PAST_MAX`."""

    # Indexes over the records above.
    by_mid: dict[str, int] = field(default_factory=dict)
    """Builds by the fact that asked for them; the newest `SETTLED_MIDS_MAX` settled ones stay, until the store
    certainly answers for them.
    """
    _settled_mids: deque[str] = field(default_factory=deque)
    ready: ReadyJobs = field(default_factory=ReadyJobs)
    groups: Groups = field(default_factory=Groups)
    held_by: dict[str, dict[AttemptId, None]] = field(default_factory=dict)
    """Attempts that take a slot of each runner: the open ones, and cancelled ones that have not ended."""
    running_of: dict[str, int] = field(default_factory=dict)
    """How many jobs of each repository run."""
    standing: dict[int, dict[Status, int]] = field(default_factory=dict)
    """How many jobs of each build count as standing where; what is nowhere is not there."""
    blocked_of: dict[int, dict[str, None]] = field(default_factory=dict)
    """The jobs of each build that wait for others, in the build's order."""
    awaiting: dict[tuple[str, str], dict[int, None]] = field(default_factory=dict)
    """By repository and ref the builds that await approval."""
    roomy: dict[str, None] = field(default_factory=dict)
    """Runners that may have a free slot, in the order in which they got one."""
    warm: dict[str, dict[str, None]] = field(default_factory=dict)
    """Runners that have a mirror of each repository."""

    _new: dict[object, Record] = field(default_factory=dict)
    _changed: dict[object, Record] = field(default_factory=dict)
    _notes: list[Note] = field(default_factory=list)
    _log_ends: list[LogEnd] = field(default_factory=list)

    # ---- the door --------------------------------------------------------------------------------

    def put(self, record: Record, now: int, why: str = "") -> None:
        """Take a new or changed record: the only way anything here changes. `why` goes into its line of the journal.

        Raises:
            AssertionError: the step from the old state to the new one is not legal, which is a defect of ours.
        """
        key: object
        match record:
            case Job():
                key, job = record.id, self.jobs.get(record.id)
                self._put_job(job, record)
                is_new, note = job is None, job_line(job, record, now)
            case Attempt():
                key = attempt_id = record.id
                attempt = self.attempts.get(attempt_id)
                self._put_attempt(attempt_id, attempt, record)
                is_new, note = attempt is None, attempt_line(attempt, record, now)
            case Build():
                key, build = record.id, self.builds.get(record.id)
                self._put_build(build, record)
                is_new, note = build is None, build_line(build, record, now, why)
            case Runner():
                # Unlike the others, a runner's key could be made to look like something else's.
                key, runner = ("runner", record.id), self.runners.get(record.id)
                self.runners[record.id] = record
                is_new, note = runner is None, runner_line(runner, record, now, why)
            case _:
                assert_never(record)
        if is_new or key in self._new:
            self._new[key] = record
        else:
            self._changed[key] = record
        if note is not None:
            self._notes.append(note)

    def take_changes(self) -> Changes:
        """Everything put since the last call, newest version of each record, for one transaction."""
        if not (self._new or self._changed or self._notes or self._log_ends):
            return _NO_CHANGES
        changes = Changes(
            new=tuple(self._new.values()), changed=tuple(self._changed.values()), notes=tuple(self._notes),
            log_ends=tuple(self._log_ends),
        )  # fmt: skip
        self._new, self._changed, self._notes, self._log_ends = {}, {}, [], []
        return changes

    def note(self, note: Note) -> None:
        """Write a line of the journal that no change of a record's state would write."""
        self._notes.append(note)

    def end_log(self, end: LogEnd) -> None:
        """Have it written how long the log of an attempt is that memory does not hold."""
        self._log_ends.append(end)

    def amend(self, attempt: Attempt, *notes: Note) -> None:
        """Say more about an attempt that was given up, though its build may have left memory by now."""
        key = attempt.id
        (self.attempts if key in self.attempts else self.past)[key] = attempt
        # Given up in an earlier batch, or in this one: then it is stored with what that did.
        (self._new if key in self._new else self._changed)[key] = attempt
        self._notes += notes

    def _put_job(self, old: Job | None, job: Job) -> None:
        state = job.state
        self.jobs[job.id] = job
        if old is None:
            self._stand(job, None)
        else:
            assert old.state == state or state in NEXT[old.state], f"{job.id}: {old.state} to {state}"
            assert job.attempt >= old.attempt, f"{job.id}: attempt {old.attempt} was followed by {job.attempt}"
            if old.state != state:
                self._stand(job, old.state)
        if state == Status.QUEUED:
            self.ready.add(job)
        else:
            self.ready.discard(job.id)
        if job.spec.concurrency:
            self.groups.follow(job)

    def _stand(self, job: Job, before: Status | None) -> None:
        """Count where a job stands now, and no more where it stood before."""
        state, standing = job.counts_as, self.standing.setdefault(job.build, {})
        standing[state] = standing.get(state, 0) + 1
        if before is not None:
            standing[before] -= 1
            if not standing[before]:
                del standing[before]
        if state == Status.RUNNING:
            self.running_of[job.repo] = self.running_of.get(job.repo, 0) + 1
        elif before == Status.RUNNING:
            self.running_of[job.repo] -= 1
            if not self.running_of[job.repo]:
                del self.running_of[job.repo]
        elif state == Status.BLOCKED:
            self.blocked_of.setdefault(job.build, {})[job.id] = None
        if before == Status.BLOCKED:
            del self.blocked_of[job.build][job.id]

    def _put_attempt(self, key: AttemptId, old: Attempt | None, attempt: Attempt) -> None:
        state = attempt.state
        self.attempts[key] = attempt
        if old is not None and old.state != state:
            assert state in NEXT_ATTEMPT[old.state], f"{attempt.job} attempt {attempt.number}: {old.state} to {state}"
        if state in OPEN:
            self._take_slot(attempt)
        elif old is not None and old.state in OPEN:
            self.leave(attempt)

    def _put_build(self, old: Build | None, build: Build) -> None:
        assert old is None or old.state not in VERDICTS or old.state == build.state, (
            f"build {build.id}: {old.state} is final"
        )
        self.builds[build.id] = build
        self.by_mid[build.mid] = build.id
        awaiting = self.awaiting.setdefault((build.repo, build.ref), {})
        if build.awaits_approval and build.state not in VERDICTS:
            awaiting[build.id] = None
        else:
            awaiting.pop(build.id, None)
        if not awaiting:
            del self.awaiting[build.repo, build.ref]
        self.next_build = max(self.next_build, build.id + 1)

    # ---- indexes that follow runners -------------------------------------------------------------

    def _take_slot(self, attempt: Attempt) -> None:
        self.held_by.setdefault(attempt.runner, {})[attempt.id] = None
        job = self.jobs[attempt.job]
        if job.spec.concurrency:
            self.groups.hold(job, attempt.id)

    def leave(self, attempt: Attempt) -> None:
        """Free the slot that the attempt took, its group and its deadlines."""
        key, held = attempt.id, self.held_by.get(attempt.runner)
        self.groups.free(key)
        if held is not None:
            held.pop(key, None)
            if not held:
                del self.held_by[attempt.runner]
        self.leases.discard(key)
        self.repeats.discard(key)
        self.untold.pop(key, None)
        self.logged.pop(key, None)
        self.roomy[attempt.runner] = None

    def linger(self, attempt: Attempt, until_at: int, repeat_at: int) -> None:
        """Let a cancelled attempt keep its slot until its runner says that it ended, or the lease runs out."""
        self._take_slot(attempt)
        self.leases.set(attempt.id, until_at)
        self.repeats.set(attempt.id, repeat_at)

    def warm_up(self, runner: str, repo: str) -> None:
        """Note that a runner has a mirror of a repository; it is forgotten with the runner's session."""
        session = self.sessions.get(runner)
        if session is not None and len(session.mirrors) < MIRRORS_MAX:
            session.mirrors[repo] = None
            self.warm.setdefault(repo, {})[runner] = None

    def cool_down(self, runner: str) -> None:
        """Forget which mirrors a runner has: it is about to say so anew."""
        session = self.sessions.get(runner)
        for repo in session.mirrors if session is not None else ():
            warm = self.warm[repo]
            del warm[runner]
            if not warm:
                del self.warm[repo]

    def attempts_of(self, runner: str) -> list[Attempt]:
        """The attempts that take a slot of this runner, oldest first."""
        return [self.attempts[key] for key in self.held_by.get(runner, ())]

    def forget(self, build: Build) -> None:
        """Drop a settled build from memory; late words about it are answered as such."""
        for job_id in build.jobs:
            job = self.jobs.pop(job_id)
            for number in range(1, job.attempt + 1):
                attempt = self.attempts.pop((job_id, number), None)
                if attempt is not None and attempt.state in GIVEN_UP and not attempt.released:
                    self.past[attempt.id] = attempt
        del self.builds[build.id]
        self.standing.pop(build.id, None)
        self.blocked_of.pop(build.id, None)
        self._settled_mids.append(build.mid)
        if len(self._settled_mids) > SETTLED_MIDS_MAX:
            del self.by_mid[self._settled_mids.popleft()]
        self.limit_past()

    def limit_past(self) -> None:
        """Forget the oldest of the attempts whose builds have left memory."""
        while len(self.past) > PAST_MAX:
            del self.past[next(iter(self.past))]

    # ---- loading -----------------------------------------------------------------------------

    @classmethod
    def load(cls, records: Iterable[Record], *, identity: Identity, next_build: int) -> State:
        """The state after a restart: what the store held of open builds, every runner, and attempts of settled builds
        with which runners may still come back. Nothing counts as changed.
        """
        state = cls(identity=identity, next_build=next_build)
        for record in records:
            if isinstance(record, Attempt) and record.job not in state.jobs:
                state.past[record.id] = record
            else:
                state.put(record, 0)
        state.limit_past()
        state.take_changes()
        return state
