"""What a round, and many of them, amount to in figures.

What belongs here: counting, and the times between a fault and what follows. What does not: tables (table).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final, Self

from surveil.core.model import AttemptState
from tests.campaign.evidence import Evidence
from tests.campaign.faults import Struck
from tests.campaign.invariants import TOLD, doubled_jobs, needless_losses

ASTRAY_MS: Final = 60_000
"""A dispatcher's clock that is so far from the machine's goes on from a time that was once written down."""


@dataclass(kw_only=True)
class Measure:
    """One round's figures. `kind` names its fault, or both of them; times are milliseconds since it was struck."""

    kind: str
    faults: int = 1
    builds: int = 0
    jobs: int = 0
    attempts: int = 0
    lost: int = 0
    doubled: int = 0
    needless: int = 0
    detected_ms: list[int] = field(default_factory=list)
    rerun_ms: list[int] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """It, for a report."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """Read one from a report."""
        return cls(**document)


def measure(kinds: Iterable[str], struck: list[Struck], evidence: Evidence) -> Measure:
    """The figures of a round."""
    lost = [attempt for attempt in evidence.attempts if attempt.state == AttemptState.LOST]
    this = Measure(
        kind="+".join(kinds),
        faults=len(struck),
        builds=len(evidence.builds),
        jobs=len(evidence.jobs),
        attempts=len(evidence.attempts),
        lost=len(lost),
        doubled=len(doubled_jobs(evidence)),
        needless=len(needless_losses(evidence)),
    )
    if not struck or any(each.untimed for each in struck):
        return this
    at, offset = min(each.at for each in struck), _stored_minus_boot_ms(evidence)
    for attempt in lost:
        if attempt.finished_at is not None and attempt.finished_at - offset >= at:
            this.detected_ms.append(attempt.finished_at - offset - at)
        began = [work.began_at for work in evidence.works_of((attempt.job, attempt.number + 1))]
        if began and began[0] >= at:
            this.rerun_ms.append(began[0] - at)
    return this


def _stored_minus_boot_ms(evidence: Evidence) -> int:
    """What to take from a stored time to have one of the truth. A dispatcher never writes an earlier time than before,
    so after its clock stood in the future it goes on from there; the steps know when they really ended.
    """
    ahead = [
        attempt.finished_at - ended_at
        for attempt in evidence.attempts
        if attempt.state in TOLD and attempt.finished_at is not None
        for ended_at in [work.ended_at for work in evidence.works_of(attempt.id)][-1:]
        if ended_at is not None
    ]
    told = int(median(ahead)) if ahead else evidence.wall_minus_boot_ms
    return told if abs(told - evidence.wall_minus_boot_ms) > ASTRAY_MS else evidence.wall_minus_boot_ms
