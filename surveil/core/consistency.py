"""Whether records, indexes and deadlines agree: what must hold of a state between any two events.

What belongs here: assertions over a whole `State`. What does not: the legality of single steps, which `State.put` sees
to. For tests and simulation; it looks at everything.
"""

from __future__ import annotations

from collections import Counter

from surveil.core.model import OPEN, VERDICTS, Build, Job, Status
from surveil.core.state import State


def check_state(state: State) -> None:
    """Assert that all agree."""
    for job in state.jobs.values():
        _check_job(state, job)
    for attempt in state.attempts.values():
        if attempt.state in OPEN:
            job = state.jobs[attempt.job]
            assert job.state == Status.RUNNING, f"{attempt.job} is {job.state} while attempt {attempt.number} is open"
            assert job.attempt == attempt.number, f"{attempt.job} has two open attempts"
            assert attempt.id in state.leases, f"{attempt.job} attempt {attempt.number} is open without a lease"
    for runner, held in state.held_by.items():
        for key in held:
            assert state.attempts[key].runner == runner, f"{key} is counted at a stranger"
    for key in state.logged:
        assert key in state.leases, f"{key} has a log that grows, and no lease"
    for key in state.leases:
        assert key in state.held_by.get(state.attempts[key].runner, {}), f"{key} has a lease and takes no slot"
    for build in state.builds.values():
        _check_build(state, build)
    for repo, count in state.running_of.items():
        real = sum(job.state == Status.RUNNING for job in state.jobs.values() if job.repo == repo)
        assert count == real, f"{repo} runs {real} jobs and {count} are counted"
    _check_groups(state)


def _check_job(state: State, job: Job) -> None:
    assert job.build in state.builds, f"{job.id} belongs to no open build"
    assert (job.state == Status.QUEUED) == (job.id in state.ready), (
        f"{job.id} is {job.state}, yet wrongly in or out of the queue"
    )
    if job.state == Status.RUNNING:
        assert state.attempts[job.id, job.attempt].state in OPEN, f"{job.id} runs without an open attempt"


def _check_build(state: State, build: Build) -> None:
    jobs = [state.jobs[job_id] for job_id in build.jobs]
    counted = Counter(job.counts_as for job in jobs)
    assert state.standing.get(build.id, {}) == counted, f"the jobs of build {build.id} are miscounted"
    blocked = [job.id for job in jobs if job.state == Status.BLOCKED]
    assert list(state.blocked_of.get(build.id, ())) == blocked, f"build {build.id} blocks others than it says"
    goes_on = any(job.state in {Status.QUEUED, Status.RUNNING} for job in jobs)
    assert not (build.awaits_approval and goes_on), f"build {build.id} goes on, and nobody approved it"
    awaiting = build.id in state.awaiting.get((build.repo, build.ref), ())
    assert awaiting == (build.awaits_approval and build.state not in VERDICTS), f"build {build.id} is wrongly awaited"


def _check_groups(state: State) -> None:
    """Whoever takes a slot holds its group, alone; and whoever is open is known to its group."""
    taking = {key for held in state.held_by.values() for key in held if state.jobs[key[0]].spec.concurrency}
    holding = dict(state.groups.held())
    assert holding.keys() == taking, f"{holding.keys() ^ taking} hold a group or a slot, and not both"
    twice = [key for key, count in Counter(holding.values()).items() if count > 1]
    assert not twice, f"the groups {twice} are held more than once"
    for job in state.jobs.values():
        if job.spec.concurrency and job.state not in VERDICTS:
            members = state.groups.members((job.repo, job.spec.concurrency))
            assert job.id in members, f"{job.id} is open, and its group does not know"
