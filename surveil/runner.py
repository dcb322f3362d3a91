"""The runner's hands: one loop between the dispatcher and the executor; decides nothing.

What belongs here: the connection, the clock, effects performed, signals. What does not: decisions
(`core.run`), in which order they are performed (`ordering`), how attempts are run (`execute`), opening the parts
(`running`).
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from dataclasses import replace
from typing import Final, assert_never
from zlib import crc32

from surveil.clock import boot_ms
from surveil.config import RunnerConfig
from surveil.core.model import AttemptId
from surveil.core.peers import Role
from surveil.core.run import handle, next_deadline
from surveil.core.run_events import (
    Collect,
    Connected,
    DetachWanted,
    Disconnected,
    DrainWanted,
    Effect,
    Ended,
    Event,
    Exit,
    Forget,
    FoundAttempt,
    KeeperLost,
    Kill,
    Load,
    LogGrew,
    LogKept,
    Prepare,
    Recovered,
    RememberCluster,
    ResumeLog,
    Said,
    Send,
    SetBulk,
    SetLease,
    Signal,
    Start,
    StopWanted,
    Tick,
    WriteTombstone,
)
from surveil.errors import ExitCode, error_of
from surveil.execute import processes
from surveil.execute.attempts import folder_name
from surveil.execute.contract import Broken, Happening
from surveil.execute.identity import write_identity
from surveil.execute.keeper import offspring
from surveil.execute.logs.output import Chunk
from surveil.execute.logs.sending import Logs
from surveil.execute.workspace import Workspace
from surveil.hands.ordering import Orders
from surveil.hands.running import Parts, opened
from surveil.net.connection import Garbled, Incoming, Link
from surveil.net.refusals import STRANGE_NEWS, Refusals
from surveil.places import WORKSPACES
from surveil.protocol import (
    Assign,
    Beat,
    Busy,
    CacheFound,
    Cancel,
    CasesKept,
    Deposited,
    Drain,
    Finished,
    Introduce,
    Kept,
    Output,
    Pack,
    Piece,
    Refused,
    Release,
    ShardTell,
    Welcome,
)
from surveil.say import Voice, begin
from surveil.tasks import Tasks

IDLE_MS: Final = 1_000
LOAD_MS: Final = 5_000

voice = Voice("runner")


class Agent:
    """One running runner, on parts that are open already, but for the executor."""

    def __init__(self, parts: Parts) -> None:
        self._state = parts.state
        self._policy = parts.policy
        self._executor = parts.executor
        self._connection = parts.connection
        self._supplies = parts.supplies
        self._cases = parts.cases
        self._shards = parts.shards
        self._courier = parts.courier
        self._identity = parts.identity
        self._data = parts.data
        self._clock = parts.clock
        self._boot_offset_ms = parts.clock.now() - boot_ms()
        self._inbox: deque[Event] = deque()
        self._logs = Logs(parts.executor.read_log, self._send_output)
        self._logs_at: int | None = None
        self._load_at = 0
        self._refusals = Refusals(Role.RUNNER, parts.address)
        self._interrupts = 0
        self._exit: Exit | None = None
        self._tasks = Tasks(lambda _: self._connection.wake())
        self._orders = Orders(parts.tombstones, hold=self._hold, do=self._do, tell=self.put, start=self._tasks.start)

    # ---- the loop ----

    async def run(self) -> Exit:
        """Run until the mind says `Exit`. Raises SurveilError when the executor cannot work at all."""
        found = await self._executor.open(self._told)
        try:
            self._recover(found)
            while self._exit is None:
                incoming = await self._connection.receive(self._timeout())
                self._tasks.check()
                self._turn(incoming)
            return self._exit
        finally:
            await self._tasks.wait()
            self._supplies.close()
            self._shards.close()
            await self._executor.close()

    def _recover(self, found: list[FoundAttempt]) -> None:
        attempts = [replace(one, accepted_at=one.accepted_at + self._boot_offset_ms) for one in found]
        for one in attempts:
            attempt = (one.assign.job, one.assign.attempt)
            self._logs.grow(attempt, one.ended.log_bytes if one.ended else one.log_bytes)
            if one.kept and one.ended is None:
                self._look_after(one.assign)
            voice.info("attempt found", job=attempt[0], attempt=attempt[1], kept=one.kept, ended=one.ended is not None)
        self._inbox.appendleft(Recovered(attempts=attempts))

    def _turn(self, incoming: list[Incoming]) -> None:
        events = [*self._inbox, *(event for item in incoming if (event := self._heard(item)) is not None), Tick()]
        self._inbox.clear()
        now = self._clock.now()
        if now >= self._load_at:
            self._load_at = now + LOAD_MS
            self._tasks.start(self._measure())
        had_room = not self._state.disk_low
        for event in events:
            effects = handle(self._state, event, now, self._policy)
            if effects:
                self._orders.follow(effects)
        if had_room and self._state.disk_low:
            free_mib = self._state.disk_free_mib
            voice.warning(
                "the disk is nearly full: no new work until there is room", data=self._data, free_mib=free_mib
            )
        self._connection.flush()
        self._logs_at = self._logs.pump(now) if self._connection.bulk_connected else None

    def _timeout(self) -> int:
        if self._inbox:
            return 0
        now = self._clock.now()
        due = [next_deadline(self._state, now, self._policy), self._logs_at, self._load_at]
        return max(0, min([IDLE_MS, *(at - now for at in due if at is not None)]))

    def put(self, event: Event) -> None:
        """Let the mind know of something, in the loop's thread."""
        self._inbox.append(event)
        self._connection.wake()

    def interrupt(self) -> None:
        """A person typed Ctrl-C: once to drain, twice to stop."""
        self._interrupts += 1
        if self._interrupts == 1:
            voice.info("draining: takes nothing new and ends after its last job; Ctrl-C again stops at once")
            self.put(DrainWanted())
        else:
            self.put(StopWanted())

    def detach(self) -> None:
        """The system wants us to end; what runs goes on."""
        self.put(DetachWanted())

    # ---- what is heard ----

    def _told(self, happening: Happening) -> None:
        if isinstance(happening, Broken):
            self._tasks.fail(happening.failure)
            return
        if isinstance(happening, Ended | KeeperLost):
            self._shards.end(happening.id)
        if isinstance(happening, LogGrew | Ended):
            self._logs.grow(happening.id, happening.log_bytes)
        self.put(happening)

    def _heard(self, item: Incoming) -> Event | None:
        match item:
            case Kept():
                attempt = (item.job, item.attempt)
                self._logs.keep(attempt, item.upto, self._clock.now())
                return LogKept(id=attempt, upto=item.upto)
            case Pack():
                self._supplies.hear(item)
            case CasesKept():
                self._cases.hear(item)
            case ShardTell():
                self._shards.hear(item)
            case Deposited() | CacheFound() | Piece():
                self._courier.hear(item.id, item)
            case Welcome() | Beat() | Introduce() | Busy() | Assign() | Cancel() | Release() | Drain():
                return Said(message=item)
            case Refused():
                voice.error("the dispatcher refuses", reason=item.reason)
                return Said(message=item)
            case Link():
                return self._link(item)
            case Garbled():
                voice.error("the dispatcher cannot be understood", reason=item.reason)
            case _:
                voice.warning("the dispatcher says what is not for runners", message=type(item).__name__)
        return None

    def _link(self, link: Link) -> Event | None:
        hopeless = self._refusals.hear(link)
        if hopeless is not None:
            # Where nobody was met, nothing speaks against what runs here; a revoked key does.
            birth = self._state.birth if link is Link.STRANGE else None
            return Said(message=Refused(reason=str(hopeless), exit_code=hopeless.exit_code, birth=birth))
        match link:
            case Link.CONNECTED:
                voice.info("connected")
                return Connected()
            case Link.DISCONNECTED:
                voice.warning("the dispatcher is away; what runs goes on")
                return Disconnected()
            case Link.BULK_CONNECTED:
                self._logs.restart(self._clock.now())
                self._supplies.restart()
                self._cases.restart()
                self._shards.restart()
                self._courier.restart()
            case Link.BULK_DISCONNECTED:
                pass
            case Link.STRANGE if self._refusals.is_news:
                voice.warning(STRANGE_NEWS)
            case Link.STRANGE | Link.REFUSED:
                pass
            case _:
                assert_never(link)
        return None

    async def _measure(self) -> None:
        load = await asyncio.to_thread(processes.measure, self._data)
        self.put(Load(**load._asdict()))

    # ---- what is done ----

    def _hold(self, order: WriteTombstone) -> None:
        """Note on disk what is to be done. Raises OSError."""
        held = self._state.held.get(order.id)
        if order.assign is not None and held is not None:
            self._executor.hold(order.assign, held.accepted_at - self._boot_offset_ms)

    def _do(self, effect: Effect) -> None:
        executor = self._executor
        match effect:
            case Send(message=message):
                if isinstance(message, Finished):
                    voice.debug("result said", job=message.job, attempt=message.attempt, outcome=message.outcome)
                self._connection.post(message)
            case WriteTombstone():
                pass  # It is on the platter: nothing that follows it is done before.
            case RememberCluster(cluster=cluster):
                self._identity = replace(self._identity, cluster=cluster)
                write_identity(self._data, self._identity)
            case Prepare(id=attempt, assign=assign):
                voice.info("attempt accepted", job=attempt[0], attempt=attempt[1], sha=assign.sha)
                executor.prepare(assign)
            case Start(id=attempt, assign=assign, lease_until_at=until):
                lease = None if until is None else until - self._boot_offset_ms
                self._look_after(assign)
                executor.start(assign, self._accepted_boot_ms(attempt), lease)
            case SetLease(id=attempt, until_at=until):
                executor.set_lease(attempt, until - self._boot_offset_ms)
            case Signal(id=attempt, grace_ms=grace_ms):
                executor.signal(attempt, grace_ms)
            case Kill(id=attempt):
                voice.error("attempt did not end in time and is killed", job=attempt[0], attempt=attempt[1])
                executor.kill(attempt)
            case Collect(assign=assign, outcome=outcome):
                executor.collect(assign, outcome)
            case Forget(id=attempt):
                self._logs.forget(attempt)
                executor.forget(attempt)
            case SetBulk(port=port):
                self._connection.use_bulk(port)
            case ResumeLog(id=attempt, at=at):
                self._logs.resume(attempt, at, self._clock.now())
            case Exit():
                self._exit = effect
                self._connection.wake()
            case _:
                assert_never(effect)

    def _look_after(self, assign: Assign) -> None:
        if assign.spec.shards:
            attempt = (assign.job, assign.attempt)
            folder = Workspace.below(self._data / WORKSPACES / folder_name(attempt)).shards
            self._shards.begin(attempt, folder)

    def _accepted_boot_ms(self, attempt: AttemptId) -> int:
        return self._state.held[attempt].accepted_at - self._boot_offset_ms

    def _send_output(self, attempt: AttemptId, chunk: Chunk) -> bool:
        job, number = attempt
        return self._connection.send(
            Output(
                job=job, attempt=number, at=chunk.at, crc=crc32(chunk.data), after_ms=chunk.after_ms, data=chunk.data
            )
        )


# ---- starting -------------------------------------------------------------------------------------------------------


def main(config: RunnerConfig) -> ExitCode:
    """Offer this machine until a signal comes or the dispatcher sends us away; return the process's exit code.

    Raises:
        SurveilError: it cannot start, or may not go on; the sentence says what to do.
    """
    begin("runner", log_format=config.log_format, log_level=config.log_level)
    offspring.be_spared()
    return asyncio.run(offer(config))


async def offer(config: RunnerConfig) -> ExitCode:
    """Open all parts, run, and close them in order."""
    async with opened(config) as parts:
        agent = Agent(parts)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, agent.detach)
        loop.add_signal_handler(signal.SIGINT, agent.interrupt)
        voice.info("runner offers itself", name=parts.state.name, slots=parts.state.slots, data=parts.data)
        end = await agent.run()
    if end.reason and end.code != ExitCode.INTERRUPTED:
        raise error_of(end.reason, end.code)
    voice.info("runner stopped")
    return ExitCode(end.code)
