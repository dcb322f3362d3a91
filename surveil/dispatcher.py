"""The dispatcher's hands: inbox, mind, commit, perform; one loop that owns the sockets, the clock and the store,
and decides nothing.

What belongs here: the order of these four, and the way of each message into and out of the mind. What does
not: decisions (core), who may come in (gate), what is to be built (submitting), logs (intake), commits for runners
(relay), answers to people (answer).

Nothing is said before it is on disk. If a commit fails the mind ends: memory is ahead of the disk then, and starting is
recovery. Where the disk is merely full, the process itself waits for room and starts again (refusing); for any other
reason it ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from surveil.answer import Reply, Wish
from surveil.answer.answers import refusal
from surveil.config import DispatcherConfig
from surveil.core.dispatch import handle, next_deadline
from surveil.core.effects import Acknowledge, Effect, Send, SendBack
from surveil.core.events import Event, Recovered, RunnerDisconnected, RunnerSaid, Stalled, Tick
from surveil.core.policy import Policy
from surveil.disk import is_out_of_room
from surveil.errors import ExitCode, InfrastructureError, SurveilError
from surveil.fleet.confining import complaint_of
from surveil.hands.answering import Answering
from surveil.hands.claims import not_its_own
from surveil.hands.dispatching import Parts, answering_tests, assembled, spawner_of
from surveil.hands.entrusting import Entrusting
from surveil.hands.fulfil import Fulfiller
from surveil.hands.noting import Noting
from surveil.hands.refusing import Refusing, full_sentence, has_room, wait_for_room
from surveil.hands.relay import Relay
from surveil.hands.scheduling import CAME
from surveil.hands.submitting import Submissions
from surveil.lasting import begin_anew, settle
from surveil.net.admission import Sender
from surveil.net.audit import HELLOS, LABELS, NO_BUSINESS, NOT_ITS_OWN, TOKENS, TURNED_AWAY
from surveil.net.traffic import Batch, Received, Route
from surveil.protocol import Ask, Assign, Busy, CommitSeen, Enrol, Message, Pack, Refs, Refused, Seen, Watching, Welcome
from surveil.say import Voice, begin
from surveil.store import FullError
from surveil.tasks import Tasks

IDLE_MS: Final = 1_000
"""The loop looks around at least so often."""

voice = Voice("dispatcher")


@dataclass(slots=True)
class _Inbox:
    """Events that come from elsewhere than the sockets, each with what is to be done once its batch is on disk."""

    events: deque[tuple[Event, Callable[[], None]]] = field(default_factory=deque)
    wake: Callable[[], None] = lambda: None

    def put(self, event: Event, then: Callable[[], None] = lambda: None) -> None:
        self.events.append((event, then))
        self.wake()


class Dispatcher:
    """One running dispatcher, on parts that are open already."""

    def __init__(self, parts: Parts, policy: Policy) -> None:
        self._store, self._writer = parts.store, parts.writer
        self._state, self._policy, self._clock = parts.live.state, policy, parts.clock
        self._server, self._gate = parts.server, parts.gate
        self._intake, self._closing = parts.intake, parts.closing
        self._depot, self._beside = parts.depot, parts.beside
        self._answers, self._live = parts.answers, parts.live
        self._answering = Answering(parts.answers, parts.server, self._fulfil)
        self._inbox = _Inbox(wake=parts.server.wake)
        self._tasks = Tasks(lambda _: self.stop())
        self.submissions = Submissions(
            parts.store.reader, start=self._tasks.start, put=self._inbox.put, trust=parts.trust,
            learn=parts.scheduler.learn,
        )  # fmt: skip
        self._scheduler = parts.scheduler
        self._audit = parts.server.audit
        self._relay = Relay(parts.live.state, parts.server.reply, lambda peer: self._audit.count(peer, NO_BUSINESS))
        self._fulfiller = Fulfiller(
            gate=parts.gate, perform=self.perform, submit=self.submissions.submit, back_up=parts.back_up,
            live=parts.live, reader=parts.store.reader, safe=parts.safe, relay=self._relay,
        )  # fmt: skip
        self._noting = Noting(parts.acts, parts.clock.now)
        self._take_tests = answering_tests(parts, self._tasks.start)
        self._entrusting = Entrusting(
            parts.live.state, parts.safe, parts.vault, with_artifacts=parts.with_artifacts, say=self._say,
            put=self._inbox.put, start=self._tasks.start,
        )  # fmt: skip
        self._wishes: list[tuple[Route, Ask]] = []
        self._stopping = False

    # ---- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until `stop`.

        Raises:
            FullError: the disk is full; this dispatcher has to start again from what is stored.
            StoreError: something could not be written; the process must end.
        """
        schedules = self._scheduler.run(lambda commit: self.submissions.submit(commit, lambda _: None, CAME))
        for beside in (self._intake, self._closing, self._depot, *self._beside):
            self._tasks.start(beside.run())
        self._tasks.start(schedules)
        await self._turn([Recovered()], self._clock.now())
        before = self._clock.now()
        while not self._stopping:
            timeout_ms = self._timeout()
            batch = await self._server.receive(timeout_ms)
            now = self._clock.now()
            events = self._stall(now - before - timeout_ms)
            before = now
            events += self._hear(batch)
            await self._turn(events, now)
            self._intake.take(self._depot.take(self._take_tests(self._relay.take_wants(batch.bulk))))
        self._tasks.check()

    def stop(self) -> None:
        """Let `run` end after what it is doing."""
        self._stopping = True
        self._server.wake()

    async def close(self) -> None:
        """Let go of what waits; everything that was promised is on disk."""
        self._answers.on_stop()
        await self._tasks.end()
        self._entrusting.close()

    def _timeout(self) -> int:
        if self._inbox.events:
            return 0
        now = self._clock.now()
        deadline = next_deadline(self._state, now)
        return IDLE_MS if deadline is None else min(IDLE_MS, deadline - now)

    def _stall(self, late_ms: int) -> list[Event]:
        """If the loop was away for longer than a heartbeat may be late, nobody is to pay for that."""
        return [Stalled(gap_ms=late_ms)] if late_ms > self._policy.heartbeat_ms // 2 else []

    async def _turn(self, events: list[Event], now: int) -> None:
        """One batch: the mind takes every event at one instant, its changes are committed, and only then is
        anything said.
        """
        done = []
        while self._inbox.events:
            event, then = self._inbox.events.popleft()
            events.append(event)
            done.append(then)
        effects: list[Effect] = []
        for event in (*events, Tick()):
            effects += handle(self._state, event, now, self._policy)
        changes = self._state.take_changes()
        if changes:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store.commit, changes)
            self._answers.on_commit(changes.notes, changes.changed)
            self._closing.hear(changes)
        self._perform_all(effects)
        for then in done:
            then()

    def _perform_all(self, effects: list[Effect]) -> None:
        words: dict[bytes, list[Message]] = {}
        for effect in effects:
            match effect:
                case Send(runner=runner, message=Assign() as message) if self._entrusting.takes(runner, message):
                    pass  # It is said as soon as all that it asks for is at hand.
                case Send(runner=runner, message=message):
                    if (route := self._server.route(runner)) is not None:
                        words.setdefault(route.id, []).append(message)
                case SendBack(via=via):
                    words.setdefault(via, []).append(self._sent_back(effect))
                case Acknowledge(mid=mid, build=build):
                    self.submissions.acknowledge(mid, build)
        for via, messages in words.items():
            self._server.reply(Route(bulk=False, id=via), *messages)

    def _say(self, runner: str, message: Message) -> None:
        if (route := self._server.route(runner)) is not None:
            self._server.reply(route, message)

    def _sent_back(self, effect: SendBack) -> Message:
        """The word that goes back. A `Welcome` makes its connection the runner's, and what it is told follows there."""
        message = effect.message
        if isinstance(message, Welcome):
            if not self._server.welcome(effect.runner, Route(bulk=False, id=effect.via)):
                self._inbox.put(RunnerDisconnected(runner=effect.runner))
            return self._with_log_ends(message)
        if isinstance(message, Refused):
            peer = self._gate.peer(effect.runner)
            if self._audit.count(peer, TURNED_AWAY):
                voice.warning("a runner is refused", runner=peer.name, reason=message.reason)
        if isinstance(message, Busy) and self._state.introductions.came_too_often(effect.runner, self._policy):
            self._audit.count(self._gate.peer(effect.runner), HELLOS)
        return message

    def _with_log_ends(self, welcome: Welcome) -> Welcome:
        """Tell a runner how much of each log is kept, so that it sends the rest only."""

        def ends(refs: Refs) -> Refs:
            return tuple(replace(ref, log_bytes=self._closing.durable((ref.job, ref.attempt))) for ref in refs)

        # Of what was given up, too: after a backup there may be less of it than the runner was once told.
        return replace(welcome, renewed=ends(welcome.renewed), revoked=ends(welcome.revoked))

    # ---- what is heard ---------------------------------------------------------------------------

    def _hear(self, batch: Batch) -> list[Event]:
        events: list[Event] = []
        for received in batch.control:
            event = self._hear_one(received)
            if event is not None:
                events.append(event)
        events += [RunnerDisconnected(runner=key) for key in batch.gone]
        return events

    def _hear_one(self, received: Received) -> Event | None:
        """The event in a message, or None where somebody else takes care of it."""
        peer, route, message = received.peer, received.route, received.message
        match message:
            case Ask():
                self._tasks.start(self._answering.answer(peer.name, route, message))
            case CommitSeen():
                seen_by = f"seen by observer {peer.name}"
                self.submissions.report(message, lambda build: self._seen(route, message.mid, build), seen_by)
            case Watching():
                self._live.watching[peer.name] = message.repos
                self._relay.watching(received, message)
            case Pack():
                self._relay.answer(message)
            case Enrol():
                self._tasks.start(self._enrol(peer, route, message))
            case _:
                # `net.admission` lets nothing else through to here than the words of runners.
                if received.beyond and self._audit.count(peer, LABELS):
                    voice.warning(
                        "runner offers labels that its token did not grant", runner=peer.name, labels=received.beyond
                    )
                if beyond := not_its_own(self._state, peer.key, message):
                    self._audit.count(peer, NOT_ITS_OWN, beyond)
                return RunnerSaid(runner=peer.key, via=route.id, message=message)  # type: ignore[arg-type]
        return None

    def _seen(self, route: Route, mid: str, build: int) -> None:
        self._server.reply(route, Seen(mid=mid, build=build))

    async def _enrol(self, peer: Sender, route: Route, said: Enrol) -> None:
        answer = await self._gate.enrol(peer.key, said)
        if isinstance(answer, Refused):
            self._audit.count(peer, TOKENS)
        if answer is not None:
            self._server.reply(route, answer)

    async def _fulfil(self, client: str, route: Route, ask: Ask, wish: Wish) -> Reply:
        # A client that waits for long says it again, so the same one may be there twice.
        self._wishes.append((route, ask))
        try:
            return await self._noting.noted(ask, client, wish, self._fulfiller.fulfil)
        finally:
            self._wishes.remove((route, ask))

    def refuse_wishes(self, error: SurveilError) -> None:
        """Tell everybody who waits for something to be done that it was not."""
        for route, ask in self._wishes:
            self._server.reply(route, refusal(ask, error))

    # ---- what others want ------------------------------------------------------------------------

    async def perform(self, event: Event) -> None:
        """Let an event happen, and return once what it did is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._inbox.put(event, lambda: None if done.done() else done.set_result(None))
        await done


def main(config: DispatcherConfig) -> ExitCode:
    """Run a dispatcher until SIGTERM or SIGINT.

    Raises:
        SurveilError: it cannot start, or the disk does not do its part.
    """
    begin("dispatcher", log_format=config.log_format, log_level=config.log_level)
    if config.spawn and (complaint := complaint_of(config, config.data)):
        voice.warning(complaint)
    return asyncio.run(serve(config))


async def serve(config: DispatcherConfig) -> ExitCode:
    """Dispatch until a signal comes, with a new life after each time that the disk was full."""
    life = _Life()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, life.stop)
    while True:
        try:
            full = await _one_life(config, life)
        except InfrastructureError as error:
            # Whoever starts us is looking, and is told. Once we ran, a disk that fills again is only waited for.
            # SQLite has more words for it than one.
            is_full = isinstance(error, FullError) or is_out_of_room(error) or not has_room(config.data)
            if not (life.was_full and is_full):
                raise
            voice.error("the disk was full again at once", reason=error)
            await life.wait_for_room(config.data)
            full = True
        if not full or life.stopped:
            break
        voice.info("there is room again: starting from what is stored", data=config.data)
    voice.info("dispatcher stopped")
    return ExitCode.OK


class _Life:
    """Whether a person wants the process to end, whether its disk was ever full, and how whatever runs now is told."""

    def __init__(self) -> None:
        self.stopped = False
        self.was_full = False
        self._end: Callable[[], None] = lambda: None

    async def wait_for_room(self, data: Path) -> None:
        gone = asyncio.Event()
        self.ends_by(gone.set)
        await wait_for_room(data, gone)

    def ends_by(self, end: Callable[[], None]) -> None:
        self._end = end
        if self.stopped:
            end()

    def stop(self) -> None:
        self.stopped = True
        self._end()


async def _one_life(config: DispatcherConfig, life: _Life) -> bool:
    """From opening to closing; whether a full disk ended it, in which case there is room again."""
    async with assembled(config) as parts:
        if not await _dispatch(config, parts, life):
            return False
        life.was_full = True
        if not life.stopped:
            refusing = Refusing(parts.server, parts.look_again(), config.data)
            life.ends_by(refusing.stop)
            await refusing.run()
    return True


async def _dispatch(config: DispatcherConfig, parts: Parts, life: _Life) -> bool:
    """The loop of one life; whether a full disk ended it."""
    dispatcher = Dispatcher(parts, config.policy)
    life.ends_by(dispatcher.stop)
    if life.was_full:
        begin_anew()
    settle()
    spawner = spawner_of(config, parts)
    spawning = asyncio.create_task(spawner.run())
    voice.info("dispatcher is ready", address=parts.address, epoch=parts.live.epoch, data=config.data)
    try:
        await dispatcher.run()
    except FullError:
        dispatcher.refuse_wishes(InfrastructureError(full_sentence(config.data)))
        return True
    finally:
        await spawner.stop()
        await spawning
        await dispatcher.close()
    return False
