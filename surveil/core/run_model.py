"""What a runner knows, and the numbers that it lives by.

What belongs here: the records of the runner's mind. What does not: what happens to them and why (run,
run_attempt), and the shapes of events and effects (run_events). Times are milliseconds of the runner's own
clock, which never steps back; none of them ever leaves the machine.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Final

from surveil.core.model import AttemptId
from surveil.frozen import dataclass, members_at_hand
from surveil.protocol import Assign, Finished, Outcome, StepReport

HELD_LIMIT: Final = 1_000
"""No more attempts than this are answered for at once, so that a `Hello` always fits into one message."""
SENT_MAX: Final = 256
"""So many of our numbered messages are remembered; far more than fit into a lease."""
TOMBSTONES_MAX: Final = 10_000
"""So many jobs are remembered. Older orders are refused all the same: their incarnation or their anchor is
long gone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerPolicy:
    """The numbers that a runner decides for itself. `heartbeat_ms` and `lease_ms` hold until the first
    `Welcome` tells the real ones.
    """

    heartbeat_ms: int = 2_000
    lease_ms: int = 8_000
    hello_ms: int = 500
    """The ceiling of the first wait before `Hello` is said again; it doubles, and the wait is anywhere below
    it (full jitter).
    """
    hello_max_ms: int = 30_000
    finished_ms: int = 1_000
    """The first wait before an unanswered `Finished` is said again; it doubles."""
    finished_max_ms: int = 30_000
    alone_ms: int = 600_000
    """How long a job that may overlap with its successor runs on without any word from the dispatcher."""
    overrun_ms: int = 60_000
    """A keeper that is so late with an end that was due is killed."""
    ending_ms: int = 15_000
    """A keeper that was asked to end, and has not so long after the grace, is killed: ending its processes by force
    takes it 10 s at the most (`offspring.ROUNDS_MAX`), and how it would have ended is known.
    """
    collecting_ms: int = 1_800_000
    """How long what is to be kept of an attempt may take on its way to a dispatcher that is there."""
    released_log_ms: int = 86_400_000
    """How long the log of a released attempt is offered to a dispatcher that does not take it."""
    stop_ms: int = 5_000
    """How long a runner that stops now waits for its processes to end and its last words to be heard."""
    stop_grace_ms: int = 1_000
    disk_free_min_mib: int = 500
    disk_free_min_percent: int = 5


@members_at_hand
class Phase(StrEnum):
    """How far a runner is with an attempt."""

    ACCEPTED = "accepted"
    """Found on disk, never started; it waits for the dispatcher to say that it is still ours."""
    PREPARING = "preparing"
    RUNNING = "running"
    COLLECTING = "collecting"
    """Its steps have ended, and what its job asked to be kept of their work is being kept."""
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What to say of an attempt that we ended ourselves, if its own work did not end it first."""

    outcome: Outcome
    reason: str
    blameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAttempt:
    """An attempt that this runner answers for."""

    assign: Assign
    phase: Phase
    accepted_at: int
    lease_until_at: int | None
    """Until when the dispatcher trusts us with it; None when an earlier incarnation was told and only the
    keeper knows.
    """
    end_due_at: int | None
    """When its keeper must have ended it, or is killed; when collecting must have ended, or is given up."""
    steps: tuple[StepReport, ...] = ()
    log_bytes: int = 0
    kept_bytes: int = 0
    ending: Ending | None = None
    killed: bool = False
    revoked: bool = False
    released: bool = False
    draft: Finished | None = None
    """What its steps came to; it is said once all is collected."""
    finished: Finished | None = None
    repeat_at: int = 0
    repeats: int = 0
    forget_at: int | None = None

    @property
    def id(self) -> AttemptId:
        """Its job and number."""
        return (self.assign.job, self.assign.attempt)

    @property
    def open(self) -> bool:
        """Whether it takes up a slot."""
        return self.phase is not Phase.FINISHED

    @property
    def answerable(self) -> bool:
        """Whether the dispatcher is still to hear of it."""
        return not self.released


@dataclass(slots=True, kw_only=True)
class RunState:
    """Everything that a runner knows. `incarnation` was raised on disk before this was made, and `birth` is new."""

    name: str
    host: str
    software: str
    labels: tuple[str, ...]
    slots: int
    incarnation: int
    birth: int
    """Drawn at random for this process."""
    cluster: str = ""
    """The installation that this runner belongs to; empty before its first `Welcome`."""
    tombstones: dict[str, int] = field(default_factory=dict)
    """The highest attempt ever ordered, of each job: it is never begun again."""
    mirrors: tuple[str, ...] = ()

    epoch: int = 0
    seq: int = 0
    sent_at: dict[int, int] = field(default_factory=dict)
    """When each recent `Hello` or `Heartbeat` was sent: leases count from there."""
    heartbeat_ms: int = 0
    lease_ms: int = 0
    connected: bool = False
    welcomed: bool = False
    hello_at: int | None = None
    hello_from_seq: int = 0
    """An older number in a `Welcome` belongs to an earlier connection."""
    hellos: int = 0
    heartbeat_at: int | None = None
    heard_at: int = 0
    held: dict[AttemptId, HeldAttempt] = field(default_factory=dict)
    told_to_drain: bool = False
    draining: bool = False
    exit_when_empty: bool = False
    stop_by_at: int | None = None
    exit_code: int = 0
    exit_reason: str = ""
    exited: bool = False
    disk_low: bool = False
    disk_free_mib: int = 0
    load_percent: int = 0

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return sum(held.open for held in self.held.values())

    @property
    def drains(self) -> bool:
        """Whether it takes nothing new, by whomever's wish."""
        return self.draining or self.told_to_drain

    def bury(self, job: str, attempt: int) -> None:
        """Remember that this attempt was ordered, and forget the oldest jobs beyond `TOMBSTONES_MAX`."""
        highest = max(attempt, self.tombstones.pop(job, 0))
        self.tombstones[job] = highest  # The newest come last, so that the oldest are the ones to go.
        while len(self.tombstones) > TOMBSTONES_MAX:
            del self.tombstones[next(iter(self.tombstones))]

    def check(self) -> None:
        """Assert what must always hold; tests and the simulator call this after each event."""
        for attempt, held in self.held.items():
            phase = held.phase
            assert attempt == held.id, f"{held.id} is kept under another name"
            has_ended = phase is Phase.FINISHED
            assert has_ended == (held.finished is not None), f"{attempt} is open exactly while it has no result"
            collecting = phase is Phase.COLLECTING
            assert collecting == (held.draft is not None), f"{attempt} has a draft exactly while it is collected"
            assert self.tombstones.get(attempt[0], 0) >= attempt[1], f"{attempt} is held without a tombstone"
        assert not self.welcomed or self.connected, "a welcome without a connection"
        assert (self.heartbeat_at is not None) == self.welcomed, "it beats exactly while it is welcomed"
        assert len(self.sent_at) <= SENT_MAX, "it remembers too much of what it said"
