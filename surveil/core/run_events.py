"""What can happen to a runner's mind, and what it can ask of the world.

What belongs here: events and effects, as plain records. What does not: why one leads to another (run), and
what is remembered (run_model). Events are facts; effects are performed in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from surveil.core.model import AttemptId
from surveil.frozen import dataclass
from surveil.protocol import Assign, FromRunner, JobOutput, Outcome, Refused, StepReport, ToRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The dispatcher said something on the control connection."""

    message: ToRunner | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The control connection stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The control connection is gone; the system looks for a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went by; what is due is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneFailed:
    """The disk did not take the tombstone; what was to follow it was not done."""

    id: AttemptId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The attempt's work tree stands."""

    id: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationFailed:
    """The attempt could not be brought to its start; `reason` is a sentence, `blameless` as in `Finished`."""

    id: AttemptId
    reason: str
    blameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsChanged:
    """A step began or ended."""

    id: AttemptId
    steps: tuple[StepReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The attempt's keeper wrote down how it ended. `after_ms` values count from the acceptance."""

    id: AttemptId
    outcome: Outcome
    reason: str
    exit_code: int | None
    started_after_ms: int | None
    finished_after_ms: int
    log_bytes: int
    steps: tuple[StepReport, ...]
    isolation: str = ""
    outputs: tuple[JobOutput, ...] = ()
    blameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the job asked to be kept of an attempt is kept, as far as it could be; `remarks` say what was not.

    `missing` says of what the job cannot pass without that the steps did not make it, and `unkept` that it could not be
    kept, which is `blameless` as in `Finished`; both are clauses for people, and empty where there is nothing of the
    kind.
    """

    id: AttemptId
    remarks: tuple[str, ...] = ()
    missing: str = ""
    unkept: str = ""
    blameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperLost:
    """The attempt's keeper died without a result, and its processes with it. Nobody knows how the attempt
    would have ended.
    """

    id: AttemptId
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGrew:
    """So much of the attempt's log is on our disk."""

    id: AttemptId
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKept:
    """So much of the attempt's log is on the dispatcher's disk."""

    id: AttemptId
    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How the machine is doing."""

    disk_free_mib: int
    disk_total_mib: int
    load_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainWanted:
    """A person wants this runner to finish what it has, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWanted:
    """A person wants this runner to end now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachWanted:
    """The system wants this process to end; its keepers go on until a next process comes back for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAttempt:
    """An attempt that an earlier incarnation left on disk: not `launched`, or kept by a living keeper, or
    `ended` and perhaps `collected`, or neither: lost.
    """

    assign: Assign
    accepted_at: int
    launched: bool
    kept: bool = False
    ended: Ended | None = None
    collected: Collected | None = None
    steps: tuple[StepReport, ...] = ()
    log_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """This is what earlier incarnations left behind. Happens once, before anything else."""

    attempts: Sequence[FoundAttempt]


Event: TypeAlias = (
    Said
    | Connected
    | Disconnected
    | Tick
    | TombstoneFailed
    | Prepared
    | PreparationFailed
    | StepsChanged
    | Ended
    | Collected
    | KeeperLost
    | LogGrew
    | LogKept
    | Load
    | DrainWanted
    | StopWanted
    | DetachWanted
    | Recovered
)


# ---- effects: performed in the order given -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Say this on the control connection. What cannot be said now is dropped: all of it is repeated or made
    needless.
    """

    message: FromRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTombstone:
    """Note on disk, before anything that follows, that this attempt was ordered; with `assign`, also what to
    do for it.

    If the disk does not take it, nothing that follows in the same list is done, and `TombstoneFailed`
    happens.
    """

    id: AttemptId
    assign: Assign | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberCluster:
    """Note on disk to which installation we belong."""

    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Make the attempt's work tree."""

    id: AttemptId
    assign: Assign


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start the attempt's keeper. With `lease_until_at`, it ends the attempt itself at that time unless a
    `SetLease` moves it.
    """

    id: AttemptId
    assign: Assign
    lease_until_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLease:
    """Tell the attempt's keeper that it may go on until then."""

    id: AttemptId
    until_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Have the attempt's keeper ask its processes to end, and make them after `grace_ms`."""

    id: AttemptId
    grace_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The keeper did not do its part: kill it and everything it started."""

    id: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Keep what the job asks for of the attempt's work, whose steps came to `outcome`; `Collected` tells that it is
    done. Once more is harmless.
    """

    id: AttemptId
    assign: Assign
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Delete all that is left of the attempt."""

    id: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBulk:
    """The dispatcher takes logs on this port."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeLog:
    """Send the attempt's log from byte `at` on, whatever was sent before."""

    id: AttemptId
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """End this process with `code`; `reason` is a sentence for its user, or empty."""

    code: int
    reason: str


Effect: TypeAlias = (
    Send
    | WriteTombstone
    | RememberCluster
    | Prepare
    | Start
    | SetLease
    | Signal
    | Kill
    | Collect
    | Forget
    | SetBulk
    | ResumeLog
    | Exit
)
