"""Fault kinds: what can be done to a cluster, and how a kind is added.

A kind is a function in one of the modules of this folder, registered by its name in the table and the numbers that it
has in the fault matrix:

    @kind("agent-kill", "F1", on="runner")
    def agent_kill(cluster: Cluster, dice: Random) -> Struck:
        \"""The agent is killed; its keepers go on, and the next agent finds them.\"""
        role = cluster.victim(dice)
        role.kill()
        return Struck(f"{role.name}: its agent was killed", interrupted=[role.name], heal=role.start)

That is all: a module that is named in `MODULES` below is imported, its kinds are drawn in campaigns, listed by
`--list`, and struck once by `--each`; `make test` strikes some of each row of the matrix. `strike` is synchronous and
may take seconds; `dice` is the only source of chance, so that a seed replays it. Jobs run when it is called. Around it
the frame

1. pushes commits, and waits until something runs;
2. calls `strike`, and waits for `hold_s`, while people go on with their work;
3. calls `heal`, which must leave every part running (whatever the frame finds down is a complaint);
4. waits until everything has come to its end, at most the frame's patience and `patience_s` more;
5. judges all evidence by every rule, and `check` by the kind's own.

Whoever loses attempts must be named in `excused`, or the loss is needless (L6). A kind that needs commits of its own
pushes them by `cluster.workload.push_pipeline(...)`; jobs made by `cluster.workload.shaper.job(...)` tell the truth and
are judged by it, others are judged only by what is stored. To see a role's process, kill, stop, start it: `Role` and
`Host` in `cluster` and `hosts`; its way to the dispatcher: `cluster.proxies[name]`.

What belongs here: the promise of a kind, and the register. What does not: any kind.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from surveil.core.model import AttemptId
from tests.campaign.truth import Span, boot_ms

if TYPE_CHECKING:
    from tests.campaign.cluster import Cluster
    from tests.campaign.evidence import Evidence

MODULES: Final = (
    "processes",
    "pauses",
    "labours",
    "commits",
    "canary",
    "network",
    "peers",
    "storage",
    "kept",
    "clocks",
    "jobs",
    "remotes",
    "versions",
)
"""The modules with kinds; one that is not there yet is passed over."""


def _nothing() -> None:
    """There is nothing to undo."""


def _no_complaints(_: "Evidence") -> Iterable[str]:
    return ()


@dataclass(kw_only=True)
class _Struck:
    """The fields of `Struck` that have names at each call."""

    excused: Iterable[str] | None = ()
    """The runners whose attempts may be lost, or break, because of it; None for all."""
    paused: Iterable[str] = ()
    """The runners that stood still, so that what must not run twice may have: they could not know."""
    cut: Iterable[str] = ()
    """The runners whose disks lost or damaged output: logs of what was lost there may end early."""
    interrupted: Iterable[str] = ()
    """The runners whose agents died or were stopped: what they had been given and not yet begun may be lost."""
    fenced: bool = False
    """Whether the dispatcher was away, so that what must not run twice may have ended itself anywhere: its lease could
    not be renewed."""
    forgotten: Iterable[Span] = ()
    """When the dispatcher did what it does not know of any more."""
    lost: Iterable[AttemptId] = ()
    """Attempts that have to be lost because of it; if one of them is not, the kind is no test."""
    hold_s: float = 0.0
    """How long it lasts before it is healed."""
    heal: Callable[[], object] = _nothing
    """What undoes it."""
    patience_s: float = 0.0
    """How much longer than usual everything may take to come to its end."""
    check: Callable[["Evidence"], Iterable[str]] = _no_complaints
    """What this kind promises besides the rules: complaints about the evidence of its round."""
    untimed: bool = False
    """Whether the dispatcher's wall clock was touched, so that its times tell nothing."""
    at: int = field(default_factory=boot_ms)
    """When it was struck, of `boot_ms`; by default now."""


@dataclass
class Struck(_Struck):
    """What was done, in a sentence for the report, and what follows from it."""

    what: str = field(kw_only=False)


Strike: TypeAlias = Callable[["Cluster", Random], Struck]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault. `weight` is how often it is drawn beside the others. `on` is the one part that it strikes, a
    "runner" that is `cluster.victim`, the "dispatcher" or an "observer"; it then may overlap with one on another part.
    """

    name: str
    matrix: tuple[str, ...]
    strike: Strike
    weight: float
    on: str

    def overlaps(self, other: "Kind") -> bool:
        """Whether both may be struck in one round; two runners are two parts."""
        return bool(self.on and other.on) and (self.on != other.on or self.on == "runner")

    @property
    def sentence(self) -> str:
        """What it is."""
        return (self.strike.__doc__ or "").strip().partition("\n")[0]


KINDS: Final[dict[str, Kind]] = {}


def kind(name: str, *matrix: str, weight: float = 1.0, on: str = "") -> Callable[[Strike], Strike]:
    """Register a function as a kind of fault; weight 0 is never drawn, and only struck where it is named."""

    def register(strike: Strike) -> Strike:
        assert name not in KINDS, f"there are two kinds {name}"
        assert strike.__doc__, f"the kind {name} does not say what it is"
        KINDS[name] = Kind(name=name, matrix=matrix, strike=strike, weight=weight, on=on)
        return strike

    return register


def all_kinds() -> dict[str, Kind]:
    """Every kind by name, from every module that is there."""
    for module in MODULES:
        if importlib.util.find_spec(f"{__name__}.{module}") is not None:
            importlib.import_module(f"{__name__}.{module}")
    return dict(sorted(KINDS.items()))
