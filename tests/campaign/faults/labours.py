"""Jobs and runners that are a fault by themselves: poison, black holes, and what a job leaves behind.

What belongs here: work that takes its runner along, a runner on which nothing works, processes that will not go. What
does not: greedy jobs (`jobs`).
"""

import signal
import time
from collections.abc import Iterable
from random import Random

from surveil.core.model import AttemptState, Status
from tests.campaign.cluster import PATIENCE_S, Cluster, below, until
from tests.campaign.evidence import Evidence, Push
from tests.campaign.faults import Struck, kind
from tests.campaign.faults.processes import kill_agents
from tests.campaign.hosts import send
from tests.campaign.shapes import plan

_LOOK_S = 1.0


@kind("poison", "F21", weight=0.3)
def poison(cluster: Cluster, dice: Random) -> Struck:
    """A job takes each host along that it comes to: it gets no third one, and no blame falls on the pool."""
    shaper, policy = cluster.workload.shaper, cluster.settings.policy
    job = shaper.job(plan(["text", 100, 0.0], ["text", 100, 60.0]))
    push = cluster.workload.push_pipeline(shaper.pipeline(poison=job), "poison")
    struck: list[str] = []
    patience = time.monotonic() + PATIENCE_S
    while len(struck) <= policy.lost_max and time.monotonic() < patience:
        mine = [work for work in cluster.truth.alive() if work.job == "poison"]
        if mine:
            role = cluster.runner(mine[0].runner)
            role.host.pull_plug()
            struck.append(role.name)
            role.start()
        elif _state(cluster, push) == Status.ERRORED:
            break
        else:
            until(lambda: _runs(cluster, "poison") or _state(cluster, push) == Status.ERRORED, _LOOK_S)

    def check(evidence: Evidence) -> Iterable[str]:
        state = _state(cluster, push)
        if state != Status.ERRORED:
            yield f"a job that took {len(struck)} hosts along is {state}"
        if len(struck) > policy.lost_max:
            yield f"one job took {len(struck)} hosts along"

    return Struck(f"a job took {', '.join(struck)} along", excused=struck, check=check)


@kind("black-hole", "F22", weight=0.3)
def black_hole(cluster: Cluster, dice: Random) -> Struck:
    """On one runner every attempt breaks at once: it is cordoned, and the others do its work."""
    role = dice.choice(cluster.runners)
    # Nothing may be on its way there: a step whose script is hidden before it is read fails by itself.
    cluster.surveil("runner", "cordon", role.name)
    assert until(lambda: not cluster.left()[role.name]), f"{role.name} does not come to rest: {cluster.left()}"
    role.host.mount("-t", "tmpfs", "-o", "ro", "none", str(role.data / "workspaces"))
    cluster.surveil("runner", "uncordon", role.name)
    limit = cluster.settings.policy.black_hole_failures + cluster.settings.slots
    cordoned = False
    shaper, every_slot = cluster.workload.shaper, cluster.settings.slots * len(cluster.runners)
    # Enough at once for all slots twice, or the healthy ones take everything.
    jobs = {f"hole-{number}": shaper.job(plan(["text", 9, 0.5])) for number in range(2 * every_slot)}
    for _ in range(limit):
        cluster.workload.push_pipeline(shaper.pipeline(**jobs), "hole")
        cordoned = until(lambda: _cordoned(cluster, role.name), 1.0)
        if cordoned:
            break

    def heal() -> None:
        role.host.unmount(str(role.data / "workspaces"))
        cluster.surveil("runner", "uncordon", role.name)

    def check(evidence: Evidence) -> Iterable[str]:
        broken = [each for each in evidence.attempts if each.state == AttemptState.ERRORED]
        if not cordoned:
            yield f"{role.name} broke {len(broken)} attempts and was not cordoned"
        if len(broken) > limit:
            yield f"{role.name} broke {len(broken)} attempts, and should have been cordoned before"

    return Struck(f"{role.name}: nothing works on it", excused=[role.name], heal=heal, check=check)


DAEMON = """\
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if sys.argv[1] == "quiet":
            for descriptor in (0, 1, 2):
                os.close(descriptor)
        time.sleep(600)
    os._exit(0)
"""


@kind("daemons", "F23")
def daemons(cluster: Cluster, dice: Random) -> Struck:
    """A step leaves daemons behind that forked twice and ignore every polite signal: they are gone when it ends."""
    shaper, python = cluster.workload.shaper, cluster.settings.step_python
    left = [f"{python} -ISs -c '{DAEMON}' {mood}" for mood in ("quiet", "loud", "quiet")]
    job = shaper.job(plan(["text", 300, 0.5]))
    job["steps"][0]["run"] = "\n".join([*left, job["steps"][0]["run"]])
    push = cluster.workload.push_pipeline(shaper.pipeline(daemons=job), "daemons")
    cluster.truth.wait(lambda works: any(work.job == "daemons" and work.ended_at for work in works), PATIENCE_S)

    def check(evidence: Evidence) -> Iterable[str]:
        if _state(cluster, push) != Status.PASSED:
            yield f"a job that left daemons behind is {_state(cluster, push)}"

    return Struck("a job left daemons behind", check=check)


@kind("agent-and-steps", "F1", "F23", weight=0.5, on="runner")
def agent_and_steps(cluster: Cluster, dice: Random) -> Struck:
    """An agent is killed while a job's processes stand still: the next agent finds them, and they go on."""
    role = cluster.victim(dice)
    steps = [pid for keeper in cluster.keepers(role) for pid in below(keeper)]
    for pid in steps:
        send(pid, signal.SIGSTOP)
    struck = kill_agents(cluster, [role])
    start_again = struck.heal

    def heal() -> None:
        start_again()
        for pid in steps:
            send(pid, signal.SIGCONT)

    struck.what += f", while {len(steps)} processes of theirs stood still"
    struck.heal = heal
    return struck


def _state(cluster: Cluster, push: Push) -> Status | None:
    build = cluster.reader.build_of_mid(f"push:{push.repo}:{push.ref}:{push.sha}")
    detail = None if build is None else cluster.reader.build(build)
    return None if detail is None else detail.build.state


def _runs(cluster: Cluster, job: str) -> bool:
    return any(work.job == job for work in cluster.truth.alive())


def _cordoned(cluster: Cluster, name: str) -> bool:
    return any(each.name == name and each.cordoned for each in cluster.reader.runners())
