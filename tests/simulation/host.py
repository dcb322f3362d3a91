"""A runner's machine: its clock, its disk, its keepers; it can crash, be paused, be suspended and die.

What belongs here: what survives what. What does not: the agent's conversation (agent) and when misfortune
strikes (faults).

The contract that is modelled here is that of `surveil.execute`: a keeper outlives its agent, holds its
attempt's processes and dies with them, writes the log to the spool before anybody may send it, writes the end
as one atomic file, and ends the attempt at its lease's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from surveil.core.model import AttemptId
from surveil.core.run_events import Collected, Ended
from surveil.protocol import Assign, JobOutput, Outcome, StepReport
from tests.simulation.clock import HostClock, Timer
from tests.simulation.graphs import GIVEN, WORD, WORDS
from tests.simulation.network import Way
from tests.simulation.truth import Work

if TYPE_CHECKING:
    from tests.simulation.agent import Agent
    from tests.simulation.world import World

_STOP_MS = 30
"""How long processes take to end at the most when their lease is over: the margin has to cover it."""
_SLOW_STOP_MS = 600
"""How long they may take to end in all other cases."""


@dataclass(slots=True, kw_only=True)
class Folder:
    """What is on a runner's disk about one attempt."""

    assign: Assign
    accepted_at: int
    launched: bool = False
    spool: bytearray = field(default_factory=bytearray)
    synced: int = 0
    """How much of the spool a power cut leaves for certain."""
    steps: tuple[StepReport, ...] = ()
    ended: Ended | None = None
    collected: Collected | None = None


@dataclass(slots=True)
class HostDisk:
    """What survives a crash of the machine, unless the disk goes with it."""

    incarnation: int = 0
    cluster: str = ""
    tombstones: dict[str, int] = field(default_factory=dict)
    folders: dict[AttemptId, Folder] = field(default_factory=dict)


class Host:
    """One machine that offers itself as a runner."""

    def __init__(self, world: World, key: str, name: str, *, slots: int, labels: tuple[str, ...], broken: bool) -> None:
        self.world = world
        self.key = key
        self.name = name
        self.slots = slots
        self.labels = labels
        self.broken = broken
        self.clock = HostClock(world.dice.randint(10**6, 10**9), world.skew())
        self.disk = HostDisk()
        self.keepers: dict[AttemptId, Keeper] = {}
        self.agent: Agent | None = None
        self.way = Way(world, key)
        self.boot = 1
        self.paused = False
        self.woken_at = 0
        self.disk_lost_at: int | None = None
        self.dead = False
        """It never comes back."""
        self.copied = False
        """Its data folder is another machine's."""
        self._backlog: list[tuple[int, Callable[..., None], tuple[Any, ...]]] = []

    def now(self) -> int:
        return self.clock.read(self.world.schedule.now)

    # ---- time on this machine ------------------------------------------------------------------------------

    def at(self, local: int, action: Callable[..., None], *args: Any) -> Timer:
        """Do something when this machine's clock says so, if it has not crashed by then and as soon as it is awake."""
        return self.world.schedule.at(self.clock.when(local), self._wake, self.boot, action, args)

    def after(self, delay_ms: int, action: Callable[..., None], *args: Any) -> Timer:
        schedule, clock = self.world.schedule, self.clock
        return schedule.at(clock.when(clock.read(schedule.now) + delay_ms), self._wake, self.boot, action, args)

    def _wake(self, boot: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        if boot != self.boot or self.dead:
            return
        if self.paused:
            self._backlog.append((boot, action, args))
        else:
            action(*args)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """Wake up; what came due meanwhile happens at once, in any order."""
        if not self.paused:
            return
        self.paused = False
        self.woken_at = self.world.schedule.now
        backlog, self._backlog = self._backlog, []
        self.world.dice.shuffle(backlog)
        for boot, action, args in backlog:
            self.world.schedule.after(0, self._wake, boot, action, args)

    # ---- crashes -------------------------------------------------------------------------------------------

    def crash(self, *, disk_survives: bool) -> None:
        """Lose every process at once."""
        self.boot += 1
        self.paused = False
        self._backlog = []
        if self.agent is not None:
            self.agent.die()
            self.agent = None
        for keeper in list(self.keepers.values()):
            keeper.die()
        for folder in self.disk.folders.values():
            self._tear(folder)
        if not disk_survives:
            self.disk = HostDisk()
            self.disk_lost_at = self.world.schedule.now

    def _tear(self, folder: Folder) -> None:
        """Lose what was written last and is not on the platter; some of it may already be with the dispatcher."""
        if folder.ended is None and folder.launched:
            del folder.spool[self.world.power_dice.randint(folder.synced, len(folder.spool)) :]
            folder.synced = len(folder.spool)
            self.world.truth.works[folder.assign.job, folder.assign.attempt].survived = len(folder.spool)


class Keeper:
    """The process that watches over one attempt's processes."""

    def __init__(self, host: Host, folder: Folder, lease_until_at: int | None) -> None:
        self.host = host
        self.folder = folder
        self.assign = folder.assign
        self.lease_until_at = lease_until_at
        self.ending: Outcome | None = None
        self.reason = ""
        self._step = 0
        self._plan = host.world.plan_of(self.assign)
        self.work = Work(
            job=self.assign.job,
            attempt=self.assign.attempt,
            host=host,
            exclusive=self.assign.spec.exclusive,
            started_at=host.world.schedule.now,
            output=self._plan.output,
            word=host.world.graph_dice.choice(WORDS),
            given=self.assign.spec.env.get(GIVEN, ""),
            takes=self.assign.spec.artifacts_from,
            group=(self.assign.repo, self.assign.spec.concurrency) if self.assign.spec.concurrency else None,
            entrusted=bool(self.assign.envelope),
            requires=next((artifact.name for artifact in self.assign.spec.artifacts if artifact.required), None),
        )
        folder.launched = True
        folder.steps = tuple(StepReport(name=step.name, state="pending") for step in self.assign.spec.steps)
        host.keepers[self.id] = self
        host.world.began(self.work, lease_until_at)
        if lease_until_at is not None:
            host.at(lease_until_at, self._lease_over)
        if self.assign.spec.timeout_ms:
            host.after(self.assign.spec.timeout_ms, self._timed_out)
        self._begin_step()

    @property
    def id(self) -> AttemptId:
        return (self.assign.job, self.assign.attempt)

    @property
    def alive(self) -> bool:
        return self.work.alive

    def _after_ms(self) -> int:
        return self.host.now() - self.folder.accepted_at

    # ---- steps ---------------------------------------------------------------------------------------------

    def _begin_step(self) -> None:
        if not self.alive:
            return
        step = self._plan.steps[self._step]
        self._report(state="running", started_after_ms=self._after_ms(), log_at=len(self.folder.spool))
        if step.kills_host:
            self.host.after(step.lasts_ms, self.host.world.poisoned, self.host)
            return
        self.host.after(step.lasts_ms // 2, self._write, step.writes // 2)
        self.host.after(step.lasts_ms, self._end_step)

    def _write(self, count: int) -> None:
        if not self.alive or not count:
            return
        at = self.folder.synced = len(self.folder.spool)
        self.folder.spool += self.work.output[at : at + count]
        self.work.written = len(self.folder.spool)
        if self.host.agent is not None:
            self.host.agent.log_grew(self.id, self.work.written)

    def _end_step(self) -> None:
        if not self.alive or self.ending is not None:
            return
        step = self._plan.steps[self._step]
        self._write(step.writes - step.writes // 2)
        passed = step.exit_code == 0
        state = "passed" if passed else "failed"
        self._report(state=state, exit_code=step.exit_code, finished_after_ms=self._after_ms())
        self._step += 1
        if passed and self._step < len(self._plan.steps):
            self._begin_step()
        else:
            self._end("passed" if passed else "failed", "", step.exit_code)

    def _report(self, **changes: Any) -> None:
        steps = list(self.folder.steps)
        old = steps[self._step]
        fields = {name: getattr(old, name) for name in old.__dataclass_fields__} | changes
        steps[self._step] = StepReport(**fields)
        self.folder.steps = tuple(steps)
        if self.host.agent is not None:
            self.host.agent.steps_changed(self.id, self.folder.steps)

    # ---- ends ----------------------------------------------------------------------------------------------

    def set_lease(self, until_at: int) -> None:
        if self.alive:
            self.lease_until_at = until_at
            self.host.at(until_at, self._lease_over)

    def _lease_over(self) -> None:
        if self.alive and self.lease_until_at is not None and self.lease_until_at <= self.host.now():
            self._stop("lost", "its lease ran out", 0)

    def _timed_out(self) -> None:
        self._stop("failed", "it took longer than its timeout", 1_000)

    def signal(self, grace_ms: int) -> None:
        self._stop("cancelled", "it was cancelled", grace_ms)

    def _stop(self, outcome: Outcome, reason: str, grace_ms: int) -> None:
        """Ask the processes to end; those that do not listen are killed after the grace, whichever request's
        comes first.
        """
        if not self.alive:
            return
        if self.ending is None:
            self.ending, self.reason = outcome, reason
        stop_ms = _STOP_MS if outcome == "lost" else self.host.world.dice.randint(1, _SLOW_STOP_MS)
        wait_ms = grace_ms + stop_ms if self._plan.stubborn else stop_ms
        self.host.after(wait_ms, self._stopped)

    def _stopped(self) -> None:
        if self.alive:
            self._end(self.ending or "cancelled", self.reason, None)

    def _end(self, outcome: Outcome, reason: str, exit_code: int | None) -> None:
        """Write the end down, in one piece, and end."""
        self.folder.ended = Ended(
            id=self.id,
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            started_after_ms=self.folder.steps[0].started_after_ms,
            finished_after_ms=self._after_ms(),
            log_bytes=len(self.folder.spool),
            steps=self.folder.steps,
            outputs=(JobOutput(name=WORD, value=self.work.word),),
        )
        self._gone(outcome, exit_code)
        if self.host.agent is not None:
            self.host.agent.keeper_ended(self.id)

    def die(self) -> None:
        """Be killed: no end is ever written, and the processes are gone."""
        if self.alive:
            self._gone(None, None)
            if self.host.agent is not None:
                self.host.agent.keeper_ended(self.id)

    def _gone(self, outcome: str | None, exit_code: int | None) -> None:
        self.host.keepers.pop(self.id, None)
        self.host.world.ended(self.work, outcome, exit_code)
