"""What a job may know of its build and of the jobs that it needs: the facts that its condition and its texts ask for.

What belongs here: taking them from the state. What does not: what comes of a condition (decisions).
"""

from __future__ import annotations

from surveil.core.decisions import Facts, Need
from surveil.core.model import Build, Job
from surveil.core.state import State


def facts_of(state: State, job: Job) -> Facts:
    """All that this job may ask for, once everything that it needs has ended."""
    needs = {name: need_of(state.jobs[f"{job.build}/{name}"]) for name in job.spec.needs}
    return facts_about(state.builds[job.build], job, needs, _behind(state, job))


def facts_about(build: Build, job: Job, needs: dict[str, Need], behind: dict[str, Need]) -> Facts:
    """The same of a job whose needs are known."""
    spec = job.spec
    return Facts(
        event=build.event, repo=build.repo, ref=build.ref, sha=build.sha, paths=build.paths, matrix=spec.matrix,
        env=spec.env, needs=needs, behind=behind,
    )  # fmt: skip


def need_of(job: Job) -> Need:
    """How a job looks to those that need it."""
    return Need(state=job.state.value, tolerated=job.counts_as != job.state)


def _behind(state: State, job: Job) -> dict[str, Need]:
    """What the needs of a job needed in turn, and so on."""
    found: dict[str, Need] = {}
    ahead = [*job.spec.needs]
    while ahead:
        for name in state.jobs[f"{job.build}/{ahead.pop()}"].spec.needs:
            if name not in found:
                found[name] = need_of(state.jobs[f"{job.build}/{name}"])
                ahead.append(name)
    return {name: need for name, need in found.items() if name not in job.spec.needs}
