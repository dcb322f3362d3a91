"""Processes and hosts that die, and come back.

What belongs here: what is done with SIGKILL and plugs. What does not: what stands still (`pauses`), what dies by its
own work (`labours`), and the dispatcher's commits (`commits`).
"""

import time
from collections.abc import Sequence
from random import Random

from tests.campaign.cluster import Cluster, Role, until
from tests.campaign.faults import Struck, kind
from tests.campaign.hosts import kill


def kill_agents(cluster: Cluster, roles: list[Role], hold_s: float = 0.0) -> Struck:
    """Kill agents, and start them again as whatever supervises them would."""
    for role in roles:
        role.kill()
    away, names = [(role, time.monotonic()) for role in roles], [role.name for role in roles]
    struck = Struck(f"{', '.join(names)}: killed but for their keepers", interrupted=names, hold_s=hold_s)

    def heal() -> None:
        for role in roles:
            role.start()
        _come_back(cluster, struck, away)

    struck.heal = heal
    return struck


def _come_back(cluster: Cluster, struck: Struck, away: Sequence[tuple[Role, float]]) -> None:
    """Wait for agents that are away since these instants. On a machine that is so busy that one of them is not back in
    the time that closed connections are waited for, that is its excuse.
    """
    back: dict[str, float] = {}

    def all_back() -> bool:
        for role, since in away:
            if role.name not in back and "runner: connected" in role.said_now():
                back[role.name] = time.monotonic() - since
        return len(back) == len(away)

    assert until(all_back), f"{[role.name for role, _ in away if role.name not in back]} do not come back"
    patient_s = cluster.settings.policy.suspect_ms / 1000 * 3 / 4
    late = {name: away_s for name, away_s in back.items() if away_s > patient_s}
    struck.what += "".join(f"; {name} was away for {away_s:.1f} s" for name, away_s in late.items())
    struck.excused = [*(struck.excused or ()), *late]


@kind("agent-kill", "F1", on="runner")
def agent_kill(cluster: Cluster, dice: Random) -> Struck:
    """The agent is killed; its keepers go on, and the next agent finds them."""
    return kill_agents(cluster, [cluster.victim(dice)], hold_s=dice.uniform(0.0, 0.2))


@kind("agent-away", "F1", on="runner")
def agent_away(cluster: Cluster, dice: Random) -> Struck:
    """The agent is killed and comes back after its lease: what its keepers still run has no say any more."""
    role = cluster.victim(dice)
    role.kill()
    hold_s = 2 * cluster.settings.policy.lease_ms / 1000
    return Struck(
        f"{role.name}: its agent was killed and stayed away", excused=[role.name], hold_s=hold_s, heal=role.start
    )


@kind("keeper-kill", "F2", on="runner")
def keeper_kill(cluster: Cluster, dice: Random) -> Struck:
    """A keeper is killed: its attempt is lost, and its agent says so at once."""
    role = cluster.victim(dice)
    keepers = cluster.keepers(role)
    if not keepers:
        return Struck(f"{role.name}: there was no keeper to kill")
    kill(dice.choice(keepers))
    return Struck(f"{role.name}: a keeper was killed", excused=[role.name])


@kind("zygote-kill", "F2", weight=0.5, on="runner")
def zygote_kill(cluster: Cluster, dice: Random) -> Struck:
    """The zygote is killed: what runs goes on, and the next attempt has another one."""
    role = cluster.victim(dice)
    zygote = cluster.zygote(role)
    if zygote is not None:
        kill(zygote)
    return Struck(f"{role.name}: its zygote was killed")


@kind("host-power", "F2", weight=2.0, on="runner")
def host_power(cluster: Cluster, dice: Random) -> Struck:
    """A runner's host loses its power for a while: all of it is gone, and no connection says goodbye."""
    hold_s = cluster.settings.policy.lease_ms / 1000 * dice.choice([0.25, 2.0])
    return _without_host(cluster, cluster.victim(dice), hold_s, silent=True)


@kind("host-kill", "F2", on="runner")
def host_kill(cluster: Cluster, dice: Random) -> Struck:
    """All processes of a runner's host are killed at once; its kernel still closes their connections."""
    role = cluster.victim(dice)
    return _without_host(cluster, role, dice.uniform(0.0, 2 * cluster.settings.policy.lease_ms / 1000), silent=False)


def _without_host(cluster: Cluster, role: Role, hold_s: float, *, silent: bool) -> Struck:
    lost = [work.id for work in cluster.truth.alive(role.name)]
    role.host.pull_plug(silent=silent)
    what = "its host lost its power" if silent else "everything on its host was killed"
    return Struck(
        f"{role.name}: {what} for {hold_s:.1f} s", excused=[role.name], lost=lost, hold_s=hold_s, heal=role.start
    )


@kind("host-replaced", "F10", on="runner")
def host_replaced(cluster: Cluster, dice: Random) -> Struck:
    """A host loses its power and is back before anybody noticed: its old connections still stand half open."""
    role = cluster.victim(dice)
    lost = [work.id for work in cluster.truth.alive(role.name)]
    role.host.pull_plug()
    role.start()
    return Struck(f"{role.name}: its host was replaced at once", excused=[role.name], lost=lost)


@kind("dispatcher-kill", "F3", on="dispatcher")
def dispatcher_kill(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher is killed and is back after two seconds."""
    return _without_dispatcher(cluster, 2.0)


@kind("dispatcher-away", "F3", weight=0.5, on="dispatcher")
def dispatcher_away(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher is killed and stays away for several leases: jobs go on, and nothing runs twice for it."""
    return _without_dispatcher(cluster, 3.75 * cluster.settings.policy.lease_ms / 1000)


def _without_dispatcher(cluster: Cluster, seconds: float) -> Struck:
    cluster.dispatcher.kill()

    def heal() -> None:
        cluster.dispatcher.start()
        cluster.wait_ready()

    return Struck(f"the dispatcher was killed for {seconds:.0f} s", fenced=True, hold_s=seconds, heal=heal)


@kind("dispatcher-power", "F3", "F16", weight=0.5, on="dispatcher")
def dispatcher_power(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher's host loses its power; nobody is told that connections ended."""
    cluster.dispatcher.host.pull_plug()

    def heal() -> None:
        cluster.dispatcher.start()
        cluster.wait_ready()

    hold_s = dice.uniform(0.5, 4.0)
    return Struck(f"the dispatcher's host lost its power for {hold_s:.1f} s", fenced=True, hold_s=hold_s, heal=heal)


@kind("observer-kill", "F3", on="observer")
def observer_kill(cluster: Cluster, dice: Random) -> Struck:
    """An observer is killed for some seconds, in which somebody pushes."""
    role = dice.choice(cluster.observers)
    role.kill()
    return Struck(f"{role.name}: killed", hold_s=dice.uniform(0.5, 4.0), heal=role.start)


@kind("tidy-restart", "F27", weight=0.5)
def tidy_restart(cluster: Cluster, dice: Random) -> Struck:
    """Every part is stopped as for an upgrade and started again, one after the other; what runs goes on."""
    roles = list(cluster.roles)
    dice.shuffle(roles)
    struck = Struck(
        f"everything was stopped and started again: {', '.join(role.name for role in roles)}",
        interrupted=[role.name for role in cluster.runners],
        fenced=True,
    )
    for role in roles:
        stopped_at = time.monotonic()
        role.stop()
        role.start()
        if role is cluster.dispatcher:
            cluster.wait_ready()
        elif role in cluster.runners:
            _come_back(cluster, struck, [(role, stopped_at)])
    return struck


@kind("all-power", "F2", "F3", weight=0.5)
def all_power(cluster: Cluster, dice: Random) -> Struck:
    """Every host loses its power at once."""
    lost = [work.id for work in cluster.truth.alive()]
    for role in cluster.roles:
        role.host.pull_plug()

    def heal() -> None:
        roles = list(cluster.roles)
        dice.shuffle(roles)
        for role in roles:
            role.start()
        cluster.wait_ready()

    return Struck("every host lost its power", excused=None, lost=lost, hold_s=dice.uniform(0.0, 3.0), heal=heal)


@kind("herd", "F11", weight=0.2)
def herd(cluster: Cluster, dice: Random) -> Struck:
    """Twenty runners lose their agents at once, and all come back at once."""
    crowd = cluster.crowd(20 - len(cluster.runners))
    roles = [*cluster.runners, *crowd]
    names = {role.name for role in roles}
    for role in roles:
        role.kill()
    for role in roles:
        role.start()

    def heal() -> None:
        back = until(lambda: names <= set(cluster.online()))
        missing = names - set(cluster.online())
        cluster.disband(crowd)
        assert back, f"of {len(names)} runners that came back at once, {missing} are not online"

    # Twenty starts on a small machine take longer than a closed connection is waited for.
    return Struck(f"{len(roles)} runners were restarted at once", excused=names, heal=heal, patience_s=30.0)


@kind("agents-gone", "F11", weight=0.5)
def agents_gone(cluster: Cluster, dice: Random) -> Struck:
    """Every agent but one is killed at once: most of the pool falls silent together, and comes back."""
    spared = dice.choice(cluster.runners)
    return kill_agents(cluster, [role for role in cluster.runners if role is not spared], dice.uniform(0.0, 0.2))
