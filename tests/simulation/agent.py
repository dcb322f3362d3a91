"""The hands of a runner, modelled: they perform what `surveil.core.run` asks for, on an invented machine.

What belongs here: the contract of `surveil.runner` in as few lines as possible. What does not: decisions.

The contract: effects are performed in the order given; what a crash cuts off is not performed; the
incarnation is raised on disk before the mind is made; every log on disk is sent from its spool, in a window,
repeated until it is kept and offered anew after each `Welcome`; a `Tick` is handled when a deadline has come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from surveil.core import run
from surveil.core.model import AttemptId
from surveil.core.run_events import (
    Collect,
    Collected,
    Connected,
    DetachWanted,
    Disconnected,
    DrainWanted,
    Effect,
    Event,
    Exit,
    Forget,
    FoundAttempt,
    KeeperLost,
    Kill,
    Load,
    LogGrew,
    LogKept,
    PreparationFailed,
    Prepare,
    Prepared,
    Recovered,
    RememberCluster,
    ResumeLog,
    Said,
    Send,
    SetBulk,
    SetLease,
    Signal,
    Start,
    StepsChanged,
    Tick,
    TombstoneFailed,
    WriteTombstone,
)
from surveil.core.run_model import RunnerPolicy, RunState
from surveil.protocol import Kept, Message, StepReport
from tests.simulation.clock import Timer
from tests.simulation.host import Folder, Keeper
from tests.simulation.invention import MISSING, NOT_THERE
from tests.simulation.network import Line

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World

CHUNK_BYTES = 700
WINDOW_BYTES = 2_000
"""How much of a log may be under way, unacknowledged; small, so that windows fill and close in every world."""
RESEND_MS = 3_000


class _Sender:
    """How far an attempt's log has been sent in this connection."""

    __slots__ = ("kept", "moved_at", "sent", "timer")

    def __init__(self) -> None:
        self.sent = 0
        self.kept = 0
        self.moved_at = 0
        self.timer: Timer | None = None


class Agent:
    """One incarnation of a runner's agent."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host
        self.alive = True
        self.paused = False
        self.line: Line | None = None
        self.policy = RunnerPolicy()
        self.doomed_after: int | None = None
        """A crash strikes after so many more effects."""
        self._backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._senders: dict[AttemptId, _Sender] = {}
        self._timer: Timer | None = None
        self._armed_at: int | None = None
        host.disk.incarnation += 1
        self.state = RunState(
            name=host.name,
            host=host.name,
            software="1",
            labels=host.labels,
            slots=host.slots,
            incarnation=host.disk.incarnation,
            birth=world.next_birth(),
            cluster=host.disk.cluster,
            tombstones=dict(host.disk.tombstones),
        )

    def begin(self) -> None:
        self._handle(Recovered(attempts=[self._found(folder) for folder in self.host.disk.folders.values()]))
        self._handle(Load(disk_free_mib=10_000, disk_total_mib=20_000, load_percent=self.world.dice.randint(0, 100)))
        self.host.way.dial(self)

    def _found(self, folder: Folder) -> FoundAttempt:
        return FoundAttempt(
            assign=folder.assign,
            accepted_at=folder.accepted_at,
            launched=folder.launched,
            kept=(folder.assign.job, folder.assign.attempt) in self.host.keepers,
            ended=folder.ended,
            collected=folder.collected,
            steps=folder.steps,
            log_bytes=len(folder.spool),
        )

    # ---- being alive ---------------------------------------------------------------------------------------

    def die(self) -> None:
        """Be killed; what the kernel does then is to close the connection."""
        if not self.alive:
            return
        self.alive = False
        if self.line is not None:
            self.host.way.close(self.line, by_caller=True)
        if self.host.agent is self:
            self.host.agent = None

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for action, args in backlog:
            self._awake(action, *args)

    def _awake(self, action: Callable[..., None], *args: Any) -> None:
        """Do something now if this process runs, and when it does again if it is paused; never if it is gone."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append((action, args))
        else:
            action(*args)

    # ---- what happens to it --------------------------------------------------------------------------------

    def connected(self, line: Line) -> None:
        self.host.after(0, self._awake, self._connected, line)

    def _connected(self, line: Line) -> None:
        if not line.open:
            return
        self.line = line
        self._handle(Connected())

    def disconnected(self, line: Line) -> None:
        self.host.after(0, self._awake, self._disconnected, line)

    def _disconnected(self, line: Line) -> None:
        if self.line is line:
            self.line = None
            self._handle(Disconnected())

    def hear(self, line: Line, message: Message) -> None:
        self.host.after(0, self._awake, self._hear, message)

    def _hear(self, message: Message) -> None:
        self.world.trace(self.host.name, message)
        if isinstance(message, Kept):
            self._kept((message.job, message.attempt), message.upto)
            self._handle(LogKept(id=(message.job, message.attempt), upto=message.upto))
        else:
            self._handle(Said(message=message))  # type: ignore[arg-type]  # a dispatcher says nothing else to runners

    def steps_changed(self, attempt: AttemptId, steps: tuple[StepReport, ...]) -> None:
        self._awake(self._handle, StepsChanged(id=attempt, steps=steps))

    def log_grew(self, attempt: AttemptId, log_bytes: int) -> None:
        self._awake(self._log_grew, attempt, log_bytes)

    def _log_grew(self, attempt: AttemptId, log_bytes: int) -> None:
        self._handle(LogGrew(id=attempt, log_bytes=log_bytes))
        self._send_log(attempt)

    def keeper_ended(self, attempt: AttemptId) -> None:
        self._awake(self._keeper_ended, attempt)

    def _keeper_ended(self, attempt: AttemptId) -> None:
        folder = self.host.disk.folders.get(attempt)
        if folder is None:
            return
        if folder.ended is not None:
            self._handle(folder.ended)
        else:
            self._handle(KeeperLost(id=attempt, log_bytes=len(folder.spool)))
        self._send_log(attempt)

    def drain(self) -> None:
        self._awake(self._handle, DrainWanted())

    def detach(self) -> None:
        self._awake(self._handle, DetachWanted())

    # ---- mind and effects ----------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if not self.alive:
            return
        now = self.host.now()
        effects = run.handle(self.state, event, now, self.policy)
        self.state.check()
        for effect in effects:
            if self.host.agent is not self:
                return  # What was just done has ended this process.
            if self.doomed_after is not None:
                self.doomed_after -= 1
                if self.doomed_after < 0:
                    self.world.kill_agent(self.host)
                    return
            if not self._perform(effect):
                break
        self._arm(now)

    def _arm(self, now: int) -> None:
        if not self.alive:
            return
        at = run.next_deadline(self.state, now, self.policy)
        if self._timer is not None:
            if at == self._armed_at and at is not None and at > now:
                return
            self._timer.cancel()
            self._timer = None
        self._armed_at = at
        if at is not None:
            self._timer = self.host.at(max(at, now + 1), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._awake(self._handle, Tick())

    def _perform(self, effect: Effect) -> bool:  # noqa: C901  one line for each kind of effect
        """Do one thing; False when the rest of the list must not be done."""
        disk = self.host.disk
        match effect:
            case Send(message=message):
                if self.line is not None and self.line.open:
                    self.host.way.say_up(self.line, message)
            case WriteTombstone():
                return self._write_tombstone(effect)
            case RememberCluster(cluster=cluster):
                disk.cluster = cluster
            case Prepare(id=attempt):
                self.host.after(self.world.dice.randint(10, 400), self._awake, self._prepared, attempt)
            case Start(id=attempt, lease_until_at=lease_until_at):
                Keeper(self.host, disk.folders[attempt], lease_until_at)
            case SetLease(id=attempt, until_at=until_at):
                if attempt in self.host.keepers:
                    self.host.keepers[attempt].set_lease(until_at)
            case Signal(id=attempt, grace_ms=grace_ms):
                if attempt in self.host.keepers:
                    self.host.keepers[attempt].signal(grace_ms)
            case Kill(id=attempt):
                if attempt in self.host.keepers:
                    self.host.keepers[attempt].die()
            case Collect(id=attempt):
                self.host.after(self.world.collect_dice.randint(0, 3_000), self._awake, self._collected, attempt)
            case Forget(id=attempt):
                self.world.checkers.forgets(self.host, attempt)
                disk.folders.pop(attempt, None)
                self._senders.pop(attempt, None)
            case SetBulk():
                # One way stands for both connections; whatever is on disk is offered on the new one.
                for attempt in list(disk.folders):
                    self._resume_log(attempt, self._senders.get(attempt, _Sender()).kept)
            case ResumeLog(id=attempt, at=at):
                self._resume_log(attempt, at)
            case Exit():
                self.world.agent_exits(self.host)
            case _:
                assert_never(effect)
        return True

    def _write_tombstone(self, effect: WriteTombstone) -> bool:
        job, number = effect.id
        if self.world.faulty and self.world.chance(self.world.options.slow_disk_pm):
            self._awake(self._handle, TombstoneFailed(id=effect.id, reason="no space left on device"))
            return False
        self.host.disk.tombstones[job] = number
        if effect.assign is not None:
            self.host.disk.folders[effect.id] = Folder(assign=effect.assign, accepted_at=self.host.now())
        return True

    def _prepared(self, attempt: AttemptId) -> None:
        folder = self.host.disk.folders.get(attempt)
        if self.host.broken and self.world.faulty:
            self._handle(PreparationFailed(id=attempt, reason="this machine's disk is broken"))
        elif folder is not None and folder.assign.spec.image is not None:
            self._handle(PreparationFailed(id=attempt, reason=NOT_THERE, blameless=True))
        else:
            self._handle(Prepared(id=attempt))

    def _collected(self, attempt: AttemptId) -> None:
        """Keep what is wanted of the work, and note it on disk before it is told."""
        folder = self.host.disk.folders.get(attempt)
        if folder is None:
            return
        missing = [one.name for one in folder.assign.spec.artifacts if one.required and one.name == MISSING]
        folder.collected = Collected(id=attempt, missing="it made nothing" if missing else "")
        self.world.truth.works[attempt].collected = True
        self._handle(folder.collected)

    # ---- the log -------------------------------------------------------------------------------------------

    def _resume_log(self, attempt: AttemptId, at: int) -> None:
        sender = self._senders.setdefault(attempt, _Sender())
        sender.sent = sender.kept = at
        self._send_log(attempt)

    def _kept(self, attempt: AttemptId, upto: int) -> None:
        sender = self._senders.setdefault(attempt, _Sender())
        if upto > sender.kept:
            sender.kept = upto
            sender.moved_at = self.host.now()
            sender.sent = max(sender.sent, upto)
        elif upto < sender.kept:
            sender.sent = sender.kept = upto
        self._send_log(attempt)

    def _send_log(self, attempt: AttemptId) -> None:
        """Send what the window allows, and look again later: what is not kept in time is sent again."""
        folder = self.host.disk.folders.get(attempt)
        if folder is None or self.line is None or not self.line.open or not self.state.welcomed:
            return
        sender = self._senders.setdefault(attempt, _Sender())
        end = min(len(folder.spool), sender.kept + WINDOW_BYTES)
        while sender.sent < end:
            data = bytes(folder.spool[sender.sent : min(end, sender.sent + CHUNK_BYTES)])
            self.host.way.say_up(self.line, self.world.output(attempt, sender.sent, data), bulk=True)
            sender.sent += len(data)
        if sender.kept < len(folder.spool) and sender.timer is None:
            sender.timer = self.host.after(RESEND_MS, self._awake, self._resend, attempt)

    def _resend(self, attempt: AttemptId) -> None:
        sender = self._senders.get(attempt)
        if sender is None:
            return
        sender.timer = None
        if self.host.now() - sender.moved_at >= RESEND_MS:
            sender.sent = sender.kept
        self._send_log(attempt)
        folder = self.host.disk.folders.get(attempt)
        if folder is not None and sender.kept < len(folder.spool) and sender.timer is None:
            sender.timer = self.host.after(RESEND_MS, self._awake, self._resend, attempt)
