"""How the jobs of a stored build look to each other.

What belongs here: the ends of jobs as those see them that need them, and what follows from that alone. What does not:
the rules (`core.following`, `core.taking`), and builds that are in memory (`core.builds`).
"""

from __future__ import annotations

from surveil.core.decisions import Need
from surveil.core.following import Look
from surveil.core.model import Job
from surveil.core.taking import decided
from surveil.protocol import JobSpec, TakenArtifact
from surveil.store import BuildDetail


def looking(detail: BuildDetail) -> Look:
    """How a job sees the others of its build."""
    by_name = {one.spec.name: one for one in detail.jobs}

    def look(name: str) -> tuple[JobSpec, Need]:
        other = by_name[name]
        outputs = {output.name: output.value for output in other.outputs}
        return other.spec, Need(
            state=other.state.value, tolerated=other.counts_as != other.state, attempt=other.decided_by, outputs=outputs
        )

    return look


def taken(detail: BuildDetail, job: Job) -> tuple[TakenArtifact, ...]:
    """What a job that was handed out found in its work tree."""
    if not job.spec.artifacts_from:
        return ()
    look = looking(detail)
    return decided(job.spec.artifacts_from, {name: look(name)[1] for name in job.spec.needs})
