"""What really happened: every process of every attempt, as only the inventor of the world can know it.

What belongs here: facts about processes. What does not: what anybody believes about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.invention import MISSING

if TYPE_CHECKING:
    from surveil.core.model import AttemptId
    from surveil.protocol import TakenArtifact
    from tests.simulation.host import Host


@dataclass(slots=True, kw_only=True)
class Work:
    """The processes of one attempt, from their start to their end."""

    job: str
    attempt: int
    host: Host
    exclusive: bool
    started_at: int
    output: bytes = b""
    """All that they would write, if nobody ended them."""
    written: int = 0
    survived: int | None = None
    """How much of that a power cut left on the disk; None where there was none."""
    ended_at: int | None = None
    outcome: str | None = None
    """How its keeper wrote down that it ended; None while it runs, and for ever if the keeper never could."""
    exit_code: int | None = None
    word: str = ""
    """What it puts out for those that need it."""
    given: str = ""
    """What it was told that its first need put out."""
    takes: tuple[TakenArtifact, ...] = ()
    """The artifacts that lie in its work tree, as it was told whose they are."""
    group: tuple[str, str] | None = None
    """The repository and the name of its concurrency group."""
    requires: str | None = None
    """The artifact without which the job has not passed."""
    entrusted: bool = False
    """Whether it got secrets."""
    collected: bool = False
    """Whether what was to be kept of it was."""

    @property
    def verdict(self) -> str | None:
        """What it came to, by the outcome of its steps and by what they made."""
        return "failed" if self.outcome == "passed" and self.requires == MISSING else self.outcome

    @property
    def on_disk(self) -> int:
        """How much of the log its runner has, if its disk is well."""
        return self.written if self.survived is None else self.survived

    @property
    def alive(self) -> bool:
        return self.ended_at is None


@dataclass(slots=True)
class Truth:
    """The ledger of all work."""

    works: dict[AttemptId, Work] = field(default_factory=dict)
    alive: dict[AttemptId, Work] = field(default_factory=dict)
    twice: list[AttemptId] = field(default_factory=list)
    """Attempts that were begun more than once."""
    overlaps: int = 0
    """How often an attempt began while an earlier one of its job still ran somewhere."""

    def begin(self, work: Work) -> list[Work]:
        """Enter a start; return the other works of the same job that run at this moment."""
        key = (work.job, work.attempt)
        if key in self.works:
            self.twice.append(key)
        others = [other for other in self.alive.values() if other.job == work.job]
        self.overlaps += bool(others)
        self.works[key] = work
        self.alive[key] = work
        return others

    def end(self, work: Work, at: int, outcome: str | None, exit_code: int | None) -> None:
        """Enter an end; `outcome` is None where nobody could write it down."""
        work.ended_at, work.outcome, work.exit_code = at, outcome, exit_code
        self.alive.pop((work.job, work.attempt), None)
