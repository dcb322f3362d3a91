"""Greedy jobs: they take all memory, all processes, all room on the disk, or say more than anybody wants to hear.

What belongs here: jobs that take what is everybody's. What does not: jobs that take their runner along (`labours`).

Each of them runs on a further runner with limits of its own, and asks for more than these allow, yet never for more
than the machine that runs the tests can spare: should a limit not hold, the job just passes, and that is a complaint.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final

from surveil.core.model import Attempt, AttemptState
from surveil.errors import InfrastructureError
from surveil.execute.isolation import cgroups
from tests.campaign.cluster import PATIENCE_S, Cluster, Role, until
from tests.campaign.evidence import Evidence, Push
from tests.campaign.faults import Struck, kind
from tests.campaign.shapes import Pipeline, plan

MIB: Final = 1024 * 1024
LABEL: Final = "greedy"
MEMORY_BYTES: Final = 64 * MIB
PROCESSES: Final = 40
DISK_BYTES: Final = 16 * MIB
EATER: Final = "b = bytearray(256 * 1024 * 1024); b[::4096] = b[::4096]"
BOMB: Final = 'n=0; while [ "$n" -lt 120 ]; do sleep 60 & n=$((n + 1)); done'
"""As a bomb of forks meets its limit, but with an end of its own."""


@kind("greedy-memory", "F20", weight=0.3)
def greedy_memory(cluster: Cluster, dice: Random) -> Struck:
    """A job takes more memory than it may: it alone is killed, and its reason says so."""
    script = f"{cluster.settings.step_python} -ISs -c '{EATER}'"
    return _strike(cluster, script, "it went over its memory limit of 64 MiB", _limits(MEMORY_BYTES, 0))


@kind("fork-bomb", "F20", weight=0.3)
def fork_bomb(cluster: Cluster, dice: Random) -> Struck:
    """A job starts process after process: it alone fails, at its limit, and nothing of it is left."""
    return _strike(cluster, BOMB, f"it went over its limit of {PROCESSES} processes", _limits(0, PROCESSES))


@kind("full-workspace", "F20", "F12", weight=0.3)
def full_workspace(cluster: Cluster, dice: Random) -> Struck:
    """A job fills the disk of its workspace: it alone fails, and the disk is free again."""

    def shrink(role: Role) -> None:
        role.host.mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(role.data / "workspaces"))

    return _strike(cluster, "cat /dev/zero > all || exit 7", "ended with exit code 7", (), shrink)


@kind("huge-output", "F20", weight=0.3)
def huge_output(cluster: Cluster, dice: Random) -> Struck:
    """A job says very much at once, as lines, without line ends, or as no text at all: all of it is kept."""
    how, mib = dice.choice([("text", 24), ("line", 48), ("binary", 48)])
    shaper = cluster.workload.shaper
    push = cluster.workload.push_pipeline(shaper.pipeline(huge=shaper.job(plan([how, mib * MIB, 0.0]))), "huge")
    until(lambda: _attempt(cluster, push, AttemptState.PASSED) is not None, PATIENCE_S)

    def check(evidence: Evidence) -> Iterable[str]:
        if _attempt(cluster, push, AttemptState.PASSED) is None:
            yield f"a job that said much ({how}) did not pass"

    return Struck(f"a job said {mib} MiB at once ({how})", check=check)


def _limits(memory_bytes: int, processes: int) -> tuple[str, ...]:
    """The flags of a runner with these limits; none where this machine cannot hold them."""
    try:
        found = cgroups.find(memory_bytes, processes)
    except InfrastructureError:
        return ()
    if not found.places:
        return ()
    return ("--memory", str(memory_bytes), "--processes", str(processes))


def _strike(
    cluster: Cluster,
    script: str,
    because: str,
    flags: tuple[str, ...],
    prepare: Callable[[Role], None] | None = None,
) -> Struck:
    """Run a greedy script on a further runner, and look whether it failed for this reason and nothing else fell."""
    if not flags and prepare is None:
        return Struck("nothing: this machine lets nobody here make control groups, so no job was let loose")
    (role,) = cluster.crowd(1, "--label", LABEL, *flags)
    agent = role.pid
    if prepare is not None:
        prepare(role)
    job = {"labels": [LABEL], "timeout": "1m", "steps": [{"run": script}]}
    push = cluster.workload.push_pipeline(_one(job), LABEL)
    until(lambda: _attempt(cluster, push, AttemptState.FAILED) is not None, PATIENCE_S)
    ended = _attempt(cluster, push, AttemptState.FAILED)
    alive = role.pid == agent and role.name in cluster.online()

    def check(_: Evidence) -> Iterable[str]:
        if ended is None:
            yield f"a greedy job did not fail: {script}"
        elif because not in ended.reason:
            yield f"a greedy job failed because {ended.reason!r}, and not because {because}"
        if not alive:
            yield f"{role.name} did not survive a greedy job"

    return Struck(
        f"{role.name}: a job was greedy ({because})",
        excused=[role.name],
        heal=lambda: cluster.disband([role]),
        check=check,
    )


def _one(job: Mapping[str, object]) -> Pipeline:
    return {"version": 1, "jobs": {LABEL: job}}


def _attempt(cluster: Cluster, push: Push, state: AttemptState) -> Attempt | None:
    """The attempt at a pushed job that came to this, once there is one."""
    build = cluster.reader.build_of_mid(f"push:{push.repo}:{push.ref}:{push.sha}")
    detail = None if build is None else cluster.reader.build(build)
    attempts = [] if detail is None else detail.attempts
    return next((each for each in attempts if each.state == state), None)
