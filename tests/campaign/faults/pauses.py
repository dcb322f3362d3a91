"""Processes and hosts that stand still for a while, and go on as if nothing had been.

What belongs here: SIGSTOP and its later SIGCONT. What does not: what dies (`processes`), and clocks (`clocks`).
"""

import signal
import threading
from collections.abc import Callable
from functools import partial
from random import Random

from tests.campaign.cluster import Cluster
from tests.campaign.faults import Struck, kind
from tests.campaign.hosts import send


def _over_s(cluster: Cluster) -> float:
    """Longer than any lease."""
    policy = cluster.settings.policy
    return (policy.lease_ms + policy.margin_ms) / 1000 + 2.0


def _heal_in(seconds: float, heal: Callable[[], None]) -> Callable[[], None]:
    """Let a clock end what must be short, because the campaign is busy with another fault, or slow; and return what
    makes sure of it.
    """
    timer = threading.Timer(seconds, heal)
    timer.start()
    return timer.join


@kind("agent-stop", "F5", on="runner")
def agent_stop(cluster: Cluster, dice: Random) -> Struck:
    """An agent stands still beyond its lease while its keepers go on; what it says afterwards changes nothing."""
    role = cluster.victim(dice)
    role.kill(signal.SIGSTOP)
    return Struck(
        f"{role.name}: its agent stood still",
        excused=[role.name],
        hold_s=_over_s(cluster),
        heal=lambda: role.kill(signal.SIGCONT),
    )


@kind("agent-pause", "F5", on="runner")
def agent_pause(cluster: Cluster, dice: Random) -> Struck:
    """An agent stands still for less than its lease: nothing is lost."""
    role = cluster.victim(dice)
    role.kill(signal.SIGSTOP)
    hold_s = dice.uniform(0.2, 0.3) * cluster.settings.policy.lease_ms / 1000
    heal = _heal_in(hold_s, partial(send, role.pid, signal.SIGCONT))
    return Struck(f"{role.name}: its agent stood still for {hold_s:.1f} s", hold_s=hold_s, heal=heal)


@kind("keeper-stop", "F5", on="runner")
def keeper_stop(cluster: Cluster, dice: Random) -> Struck:
    """Keepers stand still beyond any lease while their agent goes on: nothing is lost."""
    role = cluster.victim(dice)
    keepers = cluster.keepers(role)
    for pid in keepers:
        send(pid, signal.SIGSTOP)

    def heal() -> None:
        for pid in keepers:
            send(pid, signal.SIGCONT)

    return Struck(f"{role.name}: {len(keepers)} keepers stood still", hold_s=_over_s(cluster), heal=heal)


@kind("zygote-stop", "F5", weight=0.5)
def zygote_stop(cluster: Cluster, dice: Random) -> Struck:
    """A zygote hangs: it is replaced, and no attempt starts twice."""
    role = cluster.victim(dice)
    zygote = cluster.zygote(role)
    if zygote is not None:
        send(zygote, signal.SIGSTOP)
    cluster.workload.push("slow")

    def heal() -> None:
        if zygote is not None:
            send(zygote, signal.SIGCONT)

    return Struck(f"{role.name}: its zygote hung", hold_s=4.0, heal=heal)


@kind("host-suspend", "F5", "F19", on="runner")
def host_suspend(cluster: Cluster, dice: Random) -> Struck:
    """A runner's host is suspended beyond any lease: it is a zombie when it wakes, and what it ran is ended."""
    role = cluster.victim(dice)
    role.host.freeze()
    return Struck(
        f"{role.name}: its host was suspended",
        excused=[role.name],
        paused=[role.name],
        hold_s=_over_s(cluster),
        heal=role.host.thaw,
    )


@kind("host-hiccup", "F5", "F19", weight=0.5, on="runner")
def host_hiccup(cluster: Cluster, dice: Random) -> Struck:
    """A runner's host is suspended for less than a lease: nothing is lost."""
    role = cluster.victim(dice)
    role.host.freeze()
    hold_s = dice.uniform(0.1, 0.3) * cluster.settings.policy.lease_ms / 1000
    heal = _heal_in(hold_s, role.host.thaw)
    return Struck(f"{role.name}: its host was suspended for {hold_s:.1f} s", hold_s=hold_s, heal=heal)


@kind("dispatcher-stop", "F6", on="dispatcher")
def dispatcher_stop(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher stands still beyond any lease: the absence was its own, and nobody loses a lease for it."""
    role = cluster.dispatcher
    role.kill(signal.SIGSTOP)
    return Struck(
        "the dispatcher stood still",
        # An order that was under way comes after the lease with which it was given.
        interrupted=[each.name for each in cluster.runners],
        fenced=True,
        hold_s=_over_s(cluster),
        heal=lambda: role.kill(signal.SIGCONT),
    )


@kind("observer-stop", "F6", weight=0.5, on="observer")
def observer_stop(cluster: Cluster, dice: Random) -> Struck:
    """An observer stands still while somebody pushes."""
    role = dice.choice(cluster.observers)
    role.kill(signal.SIGSTOP)
    return Struck(f"{role.name}: stood still", hold_s=3.0, heal=lambda: role.kill(signal.SIGCONT))
