"""Everything that can happen to the dispatcher's mind.

Events are facts about the world, already checked at the edge: the sender is who it says, and holds the role
that may say this.

What belongs here: their shapes. What does not: what runners say (protocol), and what follows (dispatch).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from surveil.frozen import dataclass
from surveil.protocol import FromRunner, JobOutput, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSaid:
    """A runner, known by its key, said something. `via` names the connection, for the answer and for nothing else: two
    connections of one key may be two machines with copies of one data folder.
    """

    runner: str
    via: bytes
    message: FromRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerDisconnected:
    """The system closed the connection on which this runner was last welcomed."""

    runner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a job that need not run again came to before: the sentence that says so, what it put out, and the attempt
    that decided, 0 where none did in that build; what it kept is taken from there.
    """

    reason: str
    outputs: tuple[JobOutput, ...] = ()
    attempt: int = 0
    passed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildWanted:
    """A commit is to be tested: an observer saw it, or a person asked. The pipeline is read already: `jobs`, or
    `complaints`.

    One that is `skipped` for a reason has neither. `carried` names jobs that need not run again (`retry --failed`).
    `approved` says who let an untrusted commit be built, where that was decided before.
    """

    mid: str
    repo: str
    ref: str
    sha: str
    event: str
    base: str = ""
    trusted: bool = True
    paths: tuple[str, ...] | None = None
    inputs: Mapping[str, str] | None = None
    message: str
    author: str
    pipeline_file: str
    rule: str = ""
    jobs: tuple[JobSpec, ...]
    complaints: tuple[str, ...] = ()
    skipped: str = ""
    retry_of: int | None = None
    carried: Mapping[str, Carried]
    approved: str = ""
    by: str = ""
    """Who wants it, in words for the journal: `seen by observer web-1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """A person wants these jobs of a build to end; no names mean all of them."""

    build: int
    names: tuple[str, ...] = ()
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnholdWanted:
    """A person decided that held jobs of a build may be tried again; no names mean all of them."""

    build: int
    names: tuple[str, ...] = ()
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWanted:
    """A person read what an untrusted commit would do, and lets it be built; `by` says who, in words."""

    build: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """An attempt was not said to its runner, nor will be, because what it asks for cannot be had; with `again`, it may
    be had later. One that is `told` was said before, perhaps in vain: nobody but its runner knows whether it has begun.
    """

    job: str
    attempt: int
    reason: str
    again: bool
    told: bool = False


class RunnerOrder(StrEnum):
    """What a person may want of a runner."""

    DRAIN = "drain"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerWanted:
    """A person wants something of a runner."""

    runner: str
    order: RunnerOrder
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """We have just started on an existing state: nobody is to suffer for our absence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """We were away for `gap_ms` without knowing it (stopped, suspended, a slow disk): deadlines move by as much."""

    gap_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went by; what is due is done. Said at the end of every batch of events."""


Event: TypeAlias = (
    RunnerSaid
    | RunnerDisconnected
    | BuildWanted
    | CancelWanted
    | UnholdWanted
    | ApprovalWanted
    | RunnerWanted
    | Withheld
    | Recovered
    | Stalled
    | Tick
)
