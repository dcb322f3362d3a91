"""What a round, and many of them, amount to in figures.

What belongs here: counting, and the times between a fault and what follows. What does not: tables (table).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from surveil.core.model import AttemptState
from tests.campaign.evidence import Evidence
from tests.campaign.faults import Struck
from tests.campaign.invariants import doubled_jobs, needless_losses


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
    at, offset = min(each.at for each in struck), evidence.wall_minus_boot_ms
    for attempt in lost:
        if attempt.finished_at is not None and attempt.finished_at - offset >= at:
            this.detected_ms.append(attempt.finished_at - offset - at)
        began = [work.began_at for work in evidence.works_of((attempt.job, attempt.number + 1))]
        if began and began[0] >= at:
            this.rerun_ms.append(began[0] - at)
    return this
