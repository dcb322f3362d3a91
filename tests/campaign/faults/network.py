"""Networks that fail between a host and the dispatcher.

What belongs here: what is done to ways, by their proxies and to a host's own link. What does not: hosts that die
(processes), and peers that mean ill (peers).

A cut that is shorter than a lease is nobody's excuse, and neither is a way that is late, narrow or broken for a moment:
whatever is lost then was lost needlessly. What is longer than a lease excuses the runner that it cut off. Where it
matters how long something lasts, a clock ends it, because the campaign itself may be slow to come back.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterable
from random import Random

from tests.campaign.cluster import Cluster, Role, until
from tests.campaign.faults import Struck, kind
from tests.campaign.hosts import ORDER_S, WAYS, ip
from tests.campaign.proxy import Proxy
from tests.campaign.weather import Blow, End, Way, Weather

STRANDED_S = 30.0
"""ZeroMQ's own heartbeats find a dead connection within 20 s."""


def _lease_s(cluster: Cluster, times: float) -> float:
    return times * cluster.settings.policy.lease_ms / 1000


def _anybody(cluster: Cluster, dice: Random) -> Role:
    """A runner with work, or now and then an observer."""
    return dice.choice(cluster.observers) if dice.random() < 0.2 else cluster.victim(dice)


def _all_ways(cluster: Cluster) -> list[Proxy]:
    return [cluster.proxies[role.name] for role in (*cluster.observers, *cluster.runners)]


# ---- cuts ------------------------------------------------------------------------------------------------------------


@kind("cut-short", "F7", on="runner")
def cut_short(cluster: Cluster, dice: Random) -> Struck:
    """Nothing passes between a runner and the dispatcher, for less than its lease: nobody loses anything."""
    role = cluster.victim(dice)
    proxy = cluster.proxies[role.name]
    proxy.stall()
    hold_s = _lease_s(cluster, 0.5)
    proxy.heal_in(hold_s)
    return Struck(f"{role.name}: cut off for half a lease", hold_s=hold_s, heal=proxy.heal)


@kind("cut-short-one-way", "F7", on="runner")
def cut_short_one_way(cluster: Cluster, dice: Random) -> Struck:
    """Nothing passes in one direction, for less than a lease: nobody loses anything."""
    role, way = cluster.victim(dice), dice.choice(list(Way))
    proxy = cluster.proxies[role.name]
    proxy.stall(way)
    hold_s = _lease_s(cluster, 0.5)
    proxy.heal_in(hold_s)
    what = f"{role.name}: nothing passed {way.value} for half a lease"
    return Struck(what, hold_s=hold_s, heal=proxy.heal)


@kind("cut-long", "F7", weight=2.0, on="runner")
def cut_long(cluster: Cluster, dice: Random) -> Struck:
    """Nothing passes for two leases: the work goes on elsewhere, and what comes back late changes nothing."""
    role = cluster.victim(dice)
    proxy = cluster.proxies[role.name]
    proxy.stall()
    lost = [work.id for work in cluster.truth.alive(role.name)]
    what = f"{role.name}: cut off for two leases"
    return Struck(what, excused=[role.name], lost=lost, hold_s=_lease_s(cluster, 2.0), heal=proxy.heal)


@kind("cut-long-one-way", "F7", on="runner")
def cut_long_one_way(cluster: Cluster, dice: Random) -> Struck:
    """Nothing passes in one direction for two leases: the dispatcher hears nothing, or the runner."""
    role, way = cluster.victim(dice), dice.choice(list(Way))
    proxy = cluster.proxies[role.name]
    proxy.stall(way)
    lost = [work.id for work in cluster.truth.alive(role.name)] if way is Way.UP else []
    what = f"{role.name}: nothing passed {way.value} for two leases"
    return Struck(what, excused=[role.name], lost=lost, hold_s=_lease_s(cluster, 2.0), heal=proxy.heal)


@kind("swallowed", "F7", on="runner")
def swallowed(cluster: Cluster, dice: Random) -> Struck:
    """A middle box loses its table: what is sent vanishes for two leases, and the connections are reset then."""
    role = cluster.victim(dice)
    proxy = cluster.proxies[role.name]
    proxy.swallow(*dice.choice([list(Way), [Way.UP], [Way.DOWN]]))
    what = f"{role.name}: what was sent vanished for two leases"
    return Struck(what, excused=[role.name], hold_s=_lease_s(cluster, 2.0), heal=proxy.heal)


@kind("link-down", "F7", on="runner")
def link_down(cluster: Cluster, dice: Random) -> Struck:
    """The cable of a runner's host is pulled for less than its lease, and nobody loses anything; or for longer."""
    role, times = cluster.victim(dice), dice.choice([0.5, 2.0])
    pid = role.host.init_pid
    ip([f"link set {WAYS} down"], pid)
    lost = [work.id for work in cluster.truth.alive(role.name)] if times > 1 else []

    def heal() -> None:
        if role.host.init_pid == pid:
            ip([f"link set {WAYS} up"], pid)

    threading.Timer(_lease_s(cluster, times), heal).start()
    return Struck(
        f"{role.name}: its cable was out for {times} leases",
        excused=[role.name] if times > 1 else [],
        lost=lost,
        hold_s=_lease_s(cluster, times),
        heal=heal,
    )


@kind("everybody-cut", "F7", weight=0.5)
def everybody_cut(cluster: Cluster, dice: Random) -> Struck:
    """Every way is cut for longer than a lease: the dispatcher suspects itself, and nobody loses anything."""
    hold_s = _lease_s(cluster, 1.4)
    for proxy in _all_ways(cluster):
        proxy.stall()
        proxy.heal_in(hold_s)

    def heal() -> None:
        for proxy in _all_ways(cluster):
            proxy.heal()

    # An order that was under way comes after the lease with which it was given.
    given = [role.name for role in cluster.runners]
    what = "everybody was cut off for 1.4 leases"
    return Struck(what, interrupted=given, fenced=True, hold_s=hold_s, heal=heal)


@kind("swizzle", "F7", weight=0.5)
def swizzle(cluster: Cluster, dice: Random) -> Struck:
    """The ways are cut one after the other and come back in another order, each within its lease."""
    cut, back = _all_ways(cluster), _all_ways(cluster)
    dice.shuffle(cut)
    dice.shuffle(back)
    for proxy in cut:
        proxy.stall()
        until(lambda: False, dice.uniform(0.0, _lease_s(cluster, 0.3) / len(cut)))

    def heal() -> None:
        for proxy in back:
            proxy.heal()
            until(lambda: False, dice.uniform(0.0, _lease_s(cluster, 0.2) / len(back)))

    return Struck("the ways were cut one by one and came back in another order", heal=heal)


# ---- flapping --------------------------------------------------------------------------------------------------------


@kind("flapping", "F8")
def flapping(cluster: Cluster, dice: Random) -> Struck:
    """A way that stands still for a second and passes for a second, by turns: nobody connects anew for that."""
    role = _anybody(cluster, dice)
    proxy = cluster.proxies[role.name]
    before = proxy.counts["accepted"]
    proxy.flap(1_000, 1_000)
    return Struck(
        f"{role.name}: its way flapped for 6 s",
        hold_s=6.0,
        heal=proxy.heal,
        check=lambda _: _dials(role, proxy.counts["accepted"] - before, 0),
    )


@kind("flapping-ends", "F8")
def flapping_ends(cluster: Cluster, dice: Random) -> Struck:
    """A way that ends every connection and takes none for a second, by turns: no more than one dial a second each."""
    role = _anybody(cluster, dice)
    proxy = cluster.proxies[role.name]
    before = proxy.counts["accepted"]
    proxy.flap(1_000, 1_000, dice.choice(list(End)))
    return Struck(
        f"{role.name}: its connections ended every other second, for 6 s",
        excused=[role.name],
        hold_s=6.0,
        heal=proxy.heal,
        # Two ports, six seconds, and the way back.
        check=lambda _: _dials(role, proxy.counts["accepted"] - before, 2 * 10),
    )


def _dials(role: Role, dials: int, most: int) -> Iterable[str]:
    if dials > most:
        yield f"{role.name} dialled {dials} times, of at most {most}: a storm of sessions"


# ---- slow and broken -------------------------------------------------------------------------------------------------


@kind("late", "F9")
def late(cluster: Cluster, dice: Random) -> Struck:
    """Everything is half a second late in each direction, and more or less so."""
    return _weather(cluster, dice, Weather(delay_ms=500, jitter_ms=200), "everything was half a second late")


@kind("trickle", "F9", weight=0.5)
def trickle(cluster: Cluster, dice: Random) -> Struck:
    """Every byte comes alone, and four thousand in a second."""
    return _weather(cluster, dice, Weather(piece_bytes=1, bytes_per_s=4_000), "every byte came alone")


@kind("narrow", "F9")
def narrow(cluster: Cluster, dice: Random) -> Struck:
    """A way is as narrow as an old modem, for control and output together."""
    weather = Weather(piece_bytes=512, bytes_per_s=16_000)
    return _weather(cluster, dice, weather, "16 kB passed in a second")


def _weather(cluster: Cluster, dice: Random, weather: Weather, what: str) -> Struck:
    role = _anybody(cluster, dice)
    proxy = cluster.proxies[role.name]
    proxy.set(weather)
    return Struck(f"{role.name}: {what} for 1.5 leases", hold_s=_lease_s(cluster, 1.5), heal=proxy.heal)


@kind("loss", "F9", on="runner")
def loss(cluster: Cluster, dice: Random) -> Struck:
    """Three of ten packets are lost in each direction; the kernel draws which, and not the seed."""
    role = cluster.victim(dice)
    pid = role.host.init_pid
    assert shutil.which("iptables"), "to lose packets needs iptables: apt install iptables"
    _packet_filter(pid, "-I")

    def heal() -> None:
        if role.host.init_pid == pid:
            _packet_filter(pid, "-D")

    # So many lost repetitions in a row may well be as long as a lease.
    what = f"{role.name}: three of ten packets were lost, for two leases"
    return Struck(what, excused=[role.name], hold_s=_lease_s(cluster, 2.0), heal=heal)


def _packet_filter(pid: int | None, change: str) -> None:
    for chain, side in (("INPUT", "-i"), ("OUTPUT", "-o")):
        subprocess.run(
            ["nsenter", "--target", str(pid), "--net", "--", "iptables", "--wait", change, chain, side, WAYS,
             "-m", "statistic", "--mode", "random", "--probability", "0.3", "-j", "DROP"],
            check=True, capture_output=True, timeout=ORDER_S,
        )  # fmt: skip


@kind("mid-frame", "F9", weight=2.0)
def mid_frame(cluster: Cluster, dice: Random) -> Struck:
    """A connection ends in the middle of a frame, at a drawn byte: it is made anew, and nothing is lost or doubled."""
    end = dice.choice(list(End))
    return _blown(cluster, dice, Blow(after=dice.randrange(400), end=end), f"ended ({end.value})")


@kind("corrupt", "F9", weight=2.0)
def corrupt(cluster: Cluster, dice: Random) -> Struck:
    """One bit is flipped on the way: CURVE notices, the connection ends and is made anew."""
    return _blown(cluster, dice, Blow(after=dice.randrange(400), flip=dice.randrange(8)), "had a bit flipped")


def _blown(cluster: Cluster, dice: Random, blow: Blow, what: str) -> Struck:
    role, way = _anybody(cluster, dice), dice.choice(list(Way))
    proxy = cluster.proxies[role.name]
    before = proxy.counts["blows"]
    proxy.strike(blow, way)

    def heal() -> None:
        struck = until(lambda: proxy.counts["blows"] > before)
        proxy.heal()
        assert struck, f"too little passed {way.value} at {role.name} for anything to happen"

    return Struck(f"{role.name}: a connection {what} at byte {blow.after} {way.value}", hold_s=1.0, heal=heal)


@kind("output-broken", "F9", on="runner")
def output_broken(cluster: Cluster, dice: Random) -> Struck:
    """A runner's connection for output breaks in the middle of a chunk, twice: the rest of the log comes anyway."""
    role = cluster.victim(dice)
    proxy = cluster.proxies[role.name]
    before = proxy.counts["blows"]
    proxy.strike(Blow(after=dice.randrange(300), end=End.RESET), Way.UP, proxy.ports[1])
    until(lambda: proxy.counts["blows"] > before, 5.0)
    proxy.strike(Blow(after=dice.randrange(2_000), flip=dice.randrange(8)), Way.UP, proxy.ports[1])
    what = f"{role.name}: its output was cut in mid-chunk, and then a bit of it was flipped"
    return Struck(what, hold_s=3.0, heal=proxy.heal)


@kind("reset", "F9")
def reset(cluster: Cluster, dice: Random) -> Struck:
    """All connections of somebody end at once, and are made anew."""
    role, end = _anybody(cluster, dice), dice.choice(list(End))
    count = cluster.proxies[role.name].end_all(end)
    return Struck(f"{role.name}: its {count} connections were {end.value}")


# ---- half open -------------------------------------------------------------------------------------------------------


@kind("half-open", "F10", weight=0.5, on="runner")
def half_open(cluster: Cluster, dice: Random) -> Struck:
    """A runner's connections end on its side alone: it comes back while the old ones still stand, and those go."""
    return _half_open(cluster, cluster.victim(dice), Way.UP)


@kind("half-open-here", "F10", weight=0.5, on="runner")
def half_open_here(cluster: Cluster, dice: Random) -> Struck:
    """A runner's connections end on the dispatcher's side alone, so the runner speaks to nobody until it notices."""
    return _half_open(cluster, cluster.victim(dice), Way.DOWN)


def _half_open(cluster: Cluster, role: Role, way: Way) -> Struck:
    proxy = cluster.proxies[role.name]
    count = proxy.strand(way)
    here = way is Way.DOWN
    holder = role.name if here else "the dispatcher"

    def heal() -> None:
        gone = until(lambda: proxy.stranded == 0, STRANDED_S)
        assert gone, f"{holder} still holds {proxy.stranded} dead connections of {role.name}"

    what = f"{role.name}: {count} of its connections stood half open at {holder}"
    return Struck(what, excused=[role.name] if here else (), heal=heal)
