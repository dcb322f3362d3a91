"""The hands of a dispatcher, modelled: inbox, mind, commit, effects.

What belongs here: the contract of `surveil.dispatcher` in as few lines as possible. What does not: decisions.

The contract: all that waits in the inbox is handled at one instant, a `Tick` last; one transaction; only then
are effects performed and clients answered, and if the transaction is refused the process ends. The loop wakes
at least every `WAKE_MS`, and a loop that comes back late says by how much (`Stalled`) before anything else. A
fact whose build the store knows is acknowledged without asking the mind. Answers go
back on the connection that a word came on, orders to the one on which the runner was last welcomed; a closed
connection is told to the mind only if it is that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

from surveil.core import dispatch
from surveil.core.effects import Acknowledge, Effect, Send, SendBack
from surveil.core.events import (
    Event,
    Recovered,
    RunnerDisconnected,
    RunnerSaid,
    Stalled,
    Tick,
)
from surveil.core.model import AttemptId
from surveil.core.state import Changes, Identity, State
from surveil.frozen import replace
from surveil.protocol import (
    Accepted,
    Assign,
    Bye,
    CommitSeen,
    Finished,
    Heartbeat,
    Hello,
    Kept,
    Message,
    Output,
    Progress,
    Refs,
    Rejected,
    Seen,
    Welcome,
)
from tests.simulation.clock import HostClock, Timer
from tests.simulation.entrusting import Entrusting
from tests.simulation.network import Line
from tests.simulation.storage import DeposedError

if TYPE_CHECKING:
    from tests.simulation.world import World

WAKE_MS = 1_000
BATCH_MAX = 1_000
CLUSTER = "c0ffee"

Answered: TypeAlias = Callable[[], None]


class Dispatcher:
    """One process of the dispatcher, from its claim of the store to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.paused = False
        self.doom: str | None = None
        """Where a crash strikes: before the next commit, after it, or after so many sends."""
        self.clock = HostClock(world.wall_clock(), world.skew())
        self.store = world.store
        self.epoch = self.store.claim()
        self.policy = world.policy
        identity = Identity(cluster=CLUSTER, epoch=self.epoch, bulk_port=7301)
        self.state = State.load(self.store.open_records(), identity=identity, next_build=self.store.next_build)
        self._entrusting = Entrusting(self)
        self._inbox: list[Event] = [Recovered()] if self.epoch > 1 else []
        self._answers: list[Answered] = []
        self._routes: dict[str, Line] = {}
        self._lines: dict[bytes, Line] = {}
        self._closed: set[Line] = set()
        self._reporters: dict[str, list[Line]] = {}
        self._logs: dict[AttemptId, bytes] = {}
        self._log_ends: dict[AttemptId, int] = {}
        self._log_lines: dict[AttemptId, Line] = {}
        self.born_at = self.now()
        self._away: list[tuple[int, int]] = []
        """When it came back from an absence, and how long that was, in its own time."""
        self.busy = False
        self._wake_by: int | None = None
        self._late_ms = 0
        self._timer: Timer | None = None
        self._on_resume: list[Callable[[], None]] = []
        self._poke()

    def now(self) -> int:
        return self.clock.read(self.world.schedule.now)

    def away_between(self, since: int, until: int) -> int:
        """How long it was away in this time, as far as it knows."""
        return sum(min(gap_ms, back_at - since) for back_at, gap_ms in self._away if since < back_at <= until)

    # ---- the loop ------------------------------------------------------------------------------------------

    def _poke(self) -> None:
        """Something is in the inbox: let the loop turn as soon as it can."""
        if self.alive and not self.busy and not self.paused:
            self._arm(self.world.schedule.now)

    def _arm(self, at: int) -> None:
        if self._timer is not None:
            if self._timer.action is not None and self.world.schedule.now <= self._timer.at <= at:
                return
            self._timer.cancel()
        self._timer = self.world.schedule.at(at, self._turn)

    def _wait(self) -> None:
        """Nothing to do: wait for the next deadline or the next message."""
        now = self.now()
        due = dispatch.next_deadline(self.state, now)
        self._wake_by = now + WAKE_MS if due is None else min(due, now + WAKE_MS)
        self._arm(self.clock.when(self._wake_by) if not self._inbox else self.world.schedule.now)

    def _look_at_the_clock(self) -> None:
        """Notice if we come back later than we meant to."""
        if self._wake_by is not None:
            gap_ms = self.now() - self._wake_by
            if gap_ms > self.policy.heartbeat_ms // 2:
                self._late_ms += gap_ms
                self._away.append((self.now(), gap_ms))
        self._wake_by = None

    def _turn(self) -> None:
        self._timer = None
        if not self.alive or self.paused or self.busy:
            return
        now = self.now()
        events, self._inbox = self._inbox[:BATCH_MAX], self._inbox[BATCH_MAX:]
        answers, self._answers = self._answers, []
        logs, self._logs = self._logs, {}
        self._look_at_the_clock()
        if self._late_ms:
            events.insert(0, Stalled(gap_ms=self._late_ms))
            self._late_ms = 0
        effects: list[Effect] = []
        for event in (*events, Tick()):
            follows = dispatch.handle(self.state, event, now, self.policy)
            self.world.checkers.takes(self, event, follows)
            effects += follows
        changes = self.state.take_changes()
        self.busy = True
        options = self.world.options
        took_ms = options.commit_ms
        if self.world.faulty and self.world.chance(options.slow_disk_pm):
            took_ms += self.world.dice.randint(500, 6_000)
        if took_ms and (changes or logs):
            self._wake_by = now
            self.world.schedule.after(took_ms, self._commit, changes, logs, effects, answers)
        else:
            self._commit(changes, logs, effects, answers)

    def _commit(
        self, changes: Changes, logs: dict[AttemptId, bytes], effects: list[Effect], answers: list[Answered]
    ) -> None:
        if self.paused:
            self._on_resume.append(lambda: self._commit(changes, logs, effects, answers))
            return
        self._look_at_the_clock()
        if not self.alive:
            return
        if self.doom == "before commit":
            self.world.kill_dispatcher(self)
            return
        try:
            self.store.commit(self.epoch, changes, logs)
        except DeposedError:
            self.world.deposed(self)
            return
        self.world.checkers.committed(self, changes)
        if self.doom == "after commit":
            self.world.kill_dispatcher(self)
            return
        self._perform(effects, answers)
        for attempt in logs:
            self._say(self._log_lines[attempt], self._kept(attempt), bulk=True)
        self.busy = False
        if self.alive:
            self._wait()

    def _perform(self, effects: list[Effect], answers: list[Answered]) -> None:
        for effect in effects:
            if self.doom == "amid sends" and self.world.chance(300):
                self.world.kill_dispatcher(self)
                return
            match effect:
                case Send(runner=runner, message=message):
                    self.world.checkers.said(self, runner, message)
                    if not isinstance(message, Assign) or not self._entrusting.takes(runner, message):
                        self.say_order(runner, message)
                case SendBack(runner=runner, via=via, message=message):
                    self.world.checkers.said(self, runner, message)
                    self._send_back(runner, self._lines[via], message)
                case Acknowledge(mid=mid, build=build):
                    self.acknowledge(mid, build)
        for answer in answers:
            answer()

    def say_order(self, runner: str, message: Message) -> None:
        """Say something to a runner, if it is there."""
        if runner in self._routes:
            self._say(self._routes[runner], message)

    def _send_back(self, runner: str, line: Line, message: Message) -> None:
        if isinstance(message, Welcome):
            message = self._with_logs(message)
            self._routes[runner] = line
            if line in self._closed:
                self.closed(line)
        self._say(line, message)

    def _with_logs(self, message: Welcome) -> Welcome:
        """Only the hands know how much of each log is kept."""
        logs = self.store.logs

        def ends(refs: Refs) -> Refs:
            return tuple(replace(ref, log_bytes=len(logs.get((ref.job, ref.attempt), b""))) for ref in refs)

        return replace(message, renewed=ends(message.renewed), revoked=ends(message.revoked))

    def acknowledge(self, mid: str, build: int) -> None:
        self.world.checkers.acknowledged(self, mid, build)
        for line in self._reporters.pop(mid, ()):
            self._say(line, Seen(mid=mid, build=build))

    def _say(self, line: Line, message: Message, *, bulk: bool = False) -> None:
        self.world.trace("dispatcher", message)
        line.way.say_down(line, message, bulk=bulk)

    # ---- what happens to it --------------------------------------------------------------------------------

    def hear(self, line: Line, message: Message) -> None:
        peer = line.way.peer
        self.world.trace(peer[-4:], message)
        if isinstance(message, Output):
            self._keep_output(line, message)
        elif isinstance(message, CommitSeen):
            self._see(line, message)
        elif isinstance(message, Hello | Heartbeat | Accepted | Rejected | Progress | Finished | Bye):
            self._lines[line.via] = line
            self.take(RunnerSaid(runner=peer, via=line.via, message=message))

    def closed(self, line: Line) -> None:
        peer = line.way.peer
        self._closed.add(line)
        if self._routes.get(peer) is line:
            del self._routes[peer]
            self.take(RunnerDisconnected(runner=peer))

    def take(self, event: Event, answer: Answered | None = None) -> None:
        """Put an event into the inbox; `answer` is called once what follows from it is committed."""
        self._inbox.append(event)
        if answer is not None:
            self._answers.append(answer)
        self._poke()

    def _see(self, line: Line, said: CommitSeen) -> None:
        if said.mid in self.store.mids:
            self._say(line, Seen(mid=said.mid, build=self.store.mids[said.mid]))
            return
        self._reporters.setdefault(said.mid, []).append(line)
        self.take(self.world.build_wanted(said))

    def _keep_output(self, line: Line, said: Output) -> None:
        """Take the bytes that are new; say at once what is kept where there is nothing new."""
        key = (said.job, said.attempt)
        attempt = self.store.attempts.get(key)
        if attempt is None or attempt.runner != line.way.peer or crc32(said.data) != said.crc:
            return
        end = self._log_ends.setdefault(key, len(self.store.logs.get(key, b"")))
        data = new_bytes(said.at, said.data, end)
        if data:
            self._logs[key] = self._logs.get(key, b"") + data
            self._log_ends[key] = end + len(data)
            self._log_lines[key] = line
            self._poke()
        else:
            self._say(line, self._kept(key), bulk=True)

    def _kept(self, attempt: AttemptId) -> Kept:
        upto = len(self.store.logs.get(attempt, b""))
        self.world.checkers.kept(self, attempt, upto)
        return Kept(job=attempt[0], attempt=attempt[1], upto=upto)

    # ---- misfortunes ---------------------------------------------------------------------------------------

    def pause(self) -> None:
        self.paused = True

    def when_it_goes_on(self, action: Callable[[], None]) -> None:
        self._on_resume.append(action)

    def resume(self) -> None:
        if self.paused and self.alive:
            self.paused = False
            actions, self._on_resume = self._on_resume, []
            for action in actions:
                action()
            self._poke()


def new_bytes(at: int, data: bytes, end: int) -> bytes:
    """The part of `data`, which begins at byte `at`, that continues a log of `end` bytes; nothing where there
    is a gap.
    """
    return b"" if at > end else data[end - at :]
