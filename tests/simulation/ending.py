"""The outside checkers of liveness: once nothing goes wrong any more, everything comes to its end, and
nothing is left over (L1 to L5).

What belongs here: what must be true in the end. What does not: what must never happen on the way (checkers).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from surveil.core.model import VERDICTS
from tests.simulation.violation import require
from tests.simulation.watching import owed

if TYPE_CHECKING:
    from tests.simulation.world import World


class Ending:
    """How one world must end."""

    def __init__(self, world: World) -> None:
        self.world = world

    def settled(self) -> bool:
        """Whether nothing is left to happen."""
        world = self.world
        if world.dispatcher is None or world.submitter.unseen or world.dispatcher.state.builds:
            return False
        if any(mid not in world.store.mids for mid in owed(world.repositories, world.baselines)):
            return False
        if world.truth.alive or any(build.state not in VERDICTS for build in world.store.builds.values()):
            return False
        return all(host.dead or (not host.disk.folders and _welcomed(host.agent)) for host in world.hosts)

    def check(self, trusted: Mapping[str, int]) -> None:
        """Complain of everything that did not come to its end."""
        world, store = self.world, self.world.store
        unseen = list(world.submitter.unseen)
        require(not unseen, "L1", f"nobody ever took {unseen[:3]}")
        for job in store.jobs.values():
            require(job.state in VERDICTS, "L1", f"{job.id} is {job.state} for ever: {job.reason}")
        for build in store.builds.values():
            require(
                build.state in VERDICTS, "L1", f"build {build.id} is {build.state}, though all its jobs have verdicts"
            )
        for host in world.hosts:
            require(host.dead or _welcomed(host.agent), "L2", f"{host.name} is not welcome")
        for work in world.truth.alive.values():
            require(False, "L3", f"{work.job}#{work.attempt} runs for ever on {work.host.name}")
        for host in world.hosts:
            require(host.dead or not host.disk.folders, "L4", f"{host.name} still holds {list(host.disk.folders)[:3]}")
        self._facts(trusted)
        self._logs()
        self._nothing_leaks()

    def _facts(self, trusted: Mapping[str, int]) -> None:
        """Nothing that was trusted is lost, nothing is there that nobody asked for, nothing twice."""
        store = self.world.store
        lost = [mid for mid, build in trusted.items() if store.mids.get(mid) != build]
        require(not lost, "I1", f"facts that were acknowledged are lost: {lost[:3]}")
        missing = [mid for mid in owed(self.world.repositories, self.world.baselines) if mid not in store.mids]
        require(not missing, "L1", f"these refs moved, and nobody tested them: {missing[:3]}")
        unexpected = [mid for mid in store.mids if mid not in self.world.asked]
        require(not unexpected, "I1", f"nobody reported {unexpected[:3]}")
        require(len(store.mids) == len(store.builds), "I1", "one fact made several builds")

    def _logs(self) -> None:
        store, works = self.world.store, self.world.truth.works
        for attempt, log in store.logs.items():
            work = works[attempt]
            require(log == work.output[: len(log)], "I6", f"the log of {attempt} is not what its processes wrote")
            require(len(log) <= work.written, "I6", f"the log of {attempt} is longer than what its processes wrote")
        for attempt, work in works.items():
            end = store.attempts[attempt].log_end
            # Where a power cut came after its runner's word, that spoke of more than there is now.
            true = {None, work.on_disk, work.written}
            require(end in true, "I6", f"{attempt} is said to have {end} bytes, and has {work.on_disk}")
            if not work.host.dead:
                # Whatever became of the attempt: its runner's disk is well, and so its log is whole, and known to be.
                there = len(store.logs.get(attempt, b""))
                require(there >= work.on_disk, "I6", f"of the {work.on_disk} bytes of {attempt}, {there} are kept")
                require(end is not None, "I6", f"nobody knows how long the log of {attempt} is")

    def _nothing_leaks(self) -> None:
        dispatcher = self.world.dispatcher
        require(dispatcher is not None and dispatcher.alive, "L1", "there is no dispatcher")
        assert dispatcher is not None
        state = dispatcher.state
        left = {
            "builds": len(state.builds),
            "jobs": len(state.jobs),
            "attempts": len(state.attempts),
            "leases": len(state.leases),
            "repeats": len(state.repeats),
            "ready": len(state.ready),
            "held_by": len(state.held_by),
            "running_of": len(state.running_of),
            "logged": len(state.logged),
            "awaiting": len(state.awaiting),
            "groups": len(state.groups),
        }
        over = {name: count for name, count in left.items() if count}
        require(not over, "I13 L5", f"with nothing left to do, memory still holds {over}")
        for host in self.world.hosts:
            if host.agent is not None:
                require(not host.agent.state.held, "I13", f"{host.name} still holds {list(host.agent.state.held)[:3]}")


def _welcomed(agent: object) -> bool:
    state = getattr(agent, "state", None)
    return state is not None and bool(state.welcomed)
