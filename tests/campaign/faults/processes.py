"""Processes and hosts that die, stand still, or start anew.

What belongs here: what is done by signals and plugs. What does not: the network, disks and clocks (their own modules).
"""

from random import Random

from tests.campaign.cluster import Cluster
from tests.campaign.faults import Struck, kind


@kind("agent-kill", "F1")
def agent_kill(cluster: Cluster, dice: Random) -> Struck:
    """The agent is killed; its keepers go on, and the next agent finds them."""
    role = cluster.victim(dice)
    role.kill()
    return Struck(f"{role.name}: its agent was killed", hold_s=dice.uniform(0.0, 0.2), heal=role.start)


@kind("host-power", "F2")
def host_power(cluster: Cluster, dice: Random) -> Struck:
    """A runner's host loses its power: everything on it is gone, and no connection says goodbye."""
    role = cluster.victim(dice)
    lost = [work.id for work in cluster.truth.alive(role.name)]
    role.host.pull_plug()
    hold_s = cluster.settings.policy.lease_ms / 1000 * dice.choice([0.1, 2.0])
    return Struck(
        f"{role.name}: its host lost its power for {hold_s:.1f} s",
        excused=[role.name],
        lost=lost,
        hold_s=hold_s,
        heal=role.start,
    )
