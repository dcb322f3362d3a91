"""What goes wrong, and when: each kind of misfortune strikes at its own rate, drawn by the seed; then
everything is healed.

What belongs here: when and where misfortune strikes. What does not: what it does to its victim (host,
network, dispatcher).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from surveil.core.events import RunnerOrder

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.network import Way
    from tests.simulation.world import World

_RESTART_MS = (200, 3_000)
_DEAD_LINE_MS = 15_000
_SILENT_LINE_MS = 4_000
"""After so long a cut, ZeroMQ's own heartbeats give a connection up."""


class Misfortune:
    """All that goes wrong during the safety phase."""

    def __init__(self, world: World) -> None:
        self.world = world
        options = world.options
        for every_ms, strike in (
            (options.cut_every_ms, self._cut),
            (options.reconnect_every_ms, self._reconnect),
            (options.kill_dispatcher_every_ms, self._kill_dispatcher),
            (options.pause_dispatcher_every_ms, self._pause_dispatcher),
            (options.kill_agent_every_ms, self._kill_agent),
            (options.kill_keeper_every_ms, self._kill_keeper),
            (options.crash_host_every_ms, self._crash_host),
            (options.pause_host_every_ms, self._pause_host),
            (options.detach_every_ms, self._detach),
            (options.clone_every_ms, self._clone),
            (options.kill_observer_every_ms, world.kill_observer),
            (options.commits_every_ms, self._commit),
            (options.cancel_every_ms, world.people.cancel),
            (options.retry_build_every_ms, world.people.retry),
            (options.drain_every_ms, self._drain),
            (options.cordon_every_ms, self._cordon),
            (7_000, world.people.decide),
        ):
            if every_ms:
                self._again(every_ms, strike)

    def _again(self, every_ms: int, strike: Callable[[], None]) -> None:
        self.world.schedule.after(self.world.dice.randint(1, 2 * every_ms), self._strike, every_ms, strike)

    def _strike(self, every_ms: int, strike: Callable[[], None]) -> None:
        if self.world.faulty:
            self.world.trace("fate", strike.__name__)
            strike()
            self._again(every_ms, strike)

    def _some(self, hosts: list[Host]) -> Host | None:
        return self.world.dice.choice(hosts) if hosts else None

    # ---- the network ---------------------------------------------------------------------------------------

    def _cut(self) -> None:
        world, dice = self.world, self.world.dice
        ways = list(world.ways())
        victims = ways if world.chance(100) else [dice.choice(ways)]
        lasts_ms = dice.randint(200, 2 * world.options.cut_ms)
        for way in victims:
            if world.chance(world.options.clog_pm):
                way.clog()
            elif world.chance(world.options.one_way_pm):
                up = world.chance(500)
                way.cut(up=up, down=not up)
            else:
                way.cut(up=True, down=True)
            # Each way recovers by itself, so that many that failed together come back in any order.
            world.schedule.after(dice.randint(lasts_ms // 2, lasts_ms), self._mend, way)
            if lasts_ms > _DEAD_LINE_MS:
                world.schedule.after(_DEAD_LINE_MS, self._give_up, way)
            if world.chance(world.options.flap_pm):
                for at in range(500, 6_000, 1_000):
                    world.schedule.after(at, self._mend, way)
                    world.schedule.after(at + 500, self._cut_again, way)

    def _mend(self, way: Way) -> None:
        way.mend()

    def _cut_again(self, way: Way) -> None:
        if self.world.faulty:
            way.cut(up=True, down=True)
            self.world.schedule.after(self.world.dice.randint(100, 900), self._mend, way)

    def _give_up(self, way: Way) -> None:
        if way.blocked and way.line is not None:
            way.close(way.line)

    def _reconnect(self) -> None:
        way = self.world.dice.choice(list(self.world.ways()))
        if way.line is not None:
            way.close(way.line)

    # ---- the dispatcher ------------------------------------------------------------------------------------

    def _kill_dispatcher(self) -> None:
        dispatcher = self.world.dispatcher
        if dispatcher is None or not dispatcher.alive:
            return
        how = self.world.dice.choice(("at once", "before commit", "after commit", "amid sends"))
        if how == "at once":
            self.world.kill_dispatcher(dispatcher)
        else:
            dispatcher.doom = how

    def _pause_dispatcher(self) -> None:
        world, dispatcher = self.world, self.world.dispatcher
        if dispatcher is None or not dispatcher.alive or dispatcher.paused:
            return
        dispatcher.pause()
        lasts_ms = world.dice.randint(500, 2 * world.options.pause_ms)
        world.schedule.after(lasts_ms, dispatcher.resume)
        if lasts_ms > _SILENT_LINE_MS and world.chance(500):
            # Nobody answers ZeroMQ's own heartbeats while the process is stopped.
            for way in world.ways():
                if way.line is not None:
                    world.schedule.after(_SILENT_LINE_MS, way.close, way.line)
        if world.chance(world.options.takeover_pm):
            world.schedule.after(world.dice.randint(100, lasts_ms), world.take_over, dispatcher)

    # ---- runners -------------------------------------------------------------------------------------------

    def _with_agent(self) -> list[Host]:
        return [host for host in self.world.hosts if host.agent is not None and not host.dead]

    def _kill_agent(self) -> None:
        host = self._some(self._with_agent())
        if host is None or host.agent is None:
            return
        if self.world.chance(500):
            host.agent.doomed_after = self.world.dice.randint(0, 4)
        else:
            self.world.kill_agent(host)

    def _kill_keeper(self) -> None:
        host = self._some([host for host in self.world.hosts if host.keepers])
        if host is not None:
            self.world.dice.choice(list(host.keepers.values())).die()

    def _crash_host(self) -> None:
        host = self._some([host for host in self.world.hosts if not host.dead and host.agent is not None])
        if host is not None:
            self.crash(host)

    def crash(self, host: Host) -> None:
        world = self.world
        survives = not world.chance(world.options.host_disk_lost_pm)
        host.crash(disk_survives=survives)
        if world.chance(world.options.die_pm) and sum(not each.dead for each in world.hosts) > 1:
            host.dead = True
        elif survives:
            world.schedule.after(world.dice.randint(1_000, 20_000), world.start_agent, host)
        else:
            # Its keys went with its disk: whoever comes back is somebody new.
            host.dead = True
            world.schedule.after(world.dice.randint(1_000, 20_000), world.join, host.slots, host.labels)

    def _pause_host(self) -> None:
        world = self.world
        host = self._some(self._with_agent())
        if host is None or host.paused or host.agent is None:
            return
        lasts_ms = world.dice.randint(500, 2 * world.options.pause_ms)
        if world.chance(world.options.suspend_pm):
            host.pause()
            world.schedule.after(lasts_ms, host.resume)
        else:
            host.agent.pause()
            world.schedule.after(lasts_ms, host.agent.resume)

    def _detach(self) -> None:
        host = self._some(self._with_agent())
        if host is not None and host.agent is not None:
            host.agent.detach()

    def _clone(self) -> None:
        host = self._some([host for host in self.world.hosts if not host.dead and not host.copied])
        if host is not None and not any(each.copied and not each.dead for each in self.world.hosts):
            self.world.clone(host)

    def _drain(self) -> None:
        host = self._some(self._with_agent())
        if host is None or host.agent is None:
            return
        if self.world.chance(500):
            host.agent.drain()
        else:
            self.world.people.order((RunnerOrder.DRAIN, RunnerOrder.UNCORDON))

    def _cordon(self) -> None:
        self.world.people.order((RunnerOrder.CORDON, RunnerOrder.UNCORDON, RunnerOrder.UNCORDON))

    # ---- commits and their observers -----------------------------------------------------------------------

    def _commit(self) -> None:
        if self.world.chance(300):
            self.world.submitter.submit()
        else:
            self.world.dice.choice(self.world.repositories).move()

    # ---- the end of all misfortune -------------------------------------------------------------------------

    def heal(self) -> None:
        """End the safety phase: from now on nothing goes wrong any more, and everything must come to its end."""
        world = self.world
        world.faulty = False
        for way in world.ways():
            way.mend()
        for process in world.dispatchers:
            process.doom = None
            process.resume()
        if world.dispatcher is None or not world.dispatcher.alive:
            world.start_dispatcher()
        for host in world.hosts:
            if host.copied and not host.dead:
                # Somebody read what it said, and gave it a data folder of its own.
                host.crash(disk_survives=False)
                host.dead = True
            host.resume()
            if host.agent is not None:
                host.agent.doomed_after = None
                host.agent.resume()
        world.everybody_back()


def restart_after(world: World) -> int:
    """How long a supervisor takes to start something again."""
    return world.dice.randint(*_RESTART_MS)
