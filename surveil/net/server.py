"""The dispatcher's side of every connection: two sockets, read in batches, each message judged before anybody sees it.

What belongs here: sockets, their life, and the way from bytes to a judged message and back. What does not: what
messages mean (core), what is answered (dispatcher), who is known (peers).

`receive` reads the sockets only when it is called and only a bounded piece, so what the caller cannot take in waits
in ZeroMQ's bounded queues and then in the peers. `reply` never waits: it returns False when the peer is
gone or does not read, and the protocol repeats what matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final, Self, TypeAlias

import zmq

from surveil.errors import InfrastructureError, ProtocolError
from surveil.net.addresses import Address
from surveil.net.admission import Admission, Denied, Sender, Stranger, as_enrolled
from surveil.net.audit import MALFORMED, MAY_NOT, Audit
from surveil.net.counts import Alarm, ServerCounts
from surveil.net.inlet import FRAMES_KEPT_MAX, Inlet
from surveil.net.keys import KeyPair, make_keys
from surveil.net.monitor import ConnectionEvent, Monitor
from surveil.net.options import LINGER_MS, apply_options, check_libzmq, scatter_dice, server_options
from surveil.net.peers import Peers
from surveil.net.ports import listen
from surveil.net.reader import Reader, Source
from surveil.net.traffic import Batch, Received, Route
from surveil.net.watchdog import handshake_succeeds
from surveil.net.whereabouts import Whereabouts
from surveil.net.zap import ZapHandler
from surveil.protocol import FRAMES_MAX, HEADERS, Hello, Message, Refused, decode_all, encode_all
from surveil.say import Voice

CONTROL_BATCH_MAX: Final = 512
"""Once so many messages of control are taken, the others wait for the next turn."""
CONTROL_PIECE_MAX: Final = 8
"""So many parcels are taken before the messages in them are counted."""
BULK_BATCH_MAX: Final = 32
"""So many chunks of 256 KiB are 8 MiB, which are copied in a few milliseconds."""
WATCH_MS: Final = 10_000
HANDSHAKE_MS: Final = 5_000
IO_THREADS: Final = 2
SOCKETS_MAX: Final = 64

_AUTOMATIC_ID_BYTES: Final = 5
"""Routing ids that libzmq gives are a zero and four bytes; no honest peer asks for one of its own."""
_HELLO: Final = HEADERS[Hello]
_LAST: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_WATCHED_EVENTS: Final = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_ACCEPT_FAILED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

voice = Voice("net")

_Origin: TypeAlias = tuple[str, int]
"""The user id of a message's connection, as the handshake proved it, and its descriptor, looked up for a `Hello` only.
"""


def _origin(last: zmq.Frame, parts: list[bytes]) -> _Origin:
    """What ZeroMQ says of a message's connection."""
    hello = len(parts) > 1 and parts[1] == _HELLO
    return str(last.get("User-Id")), int(last.get(zmq.SRCFD)) if hello else -1


class Server:
    """The dispatcher's two sockets, between `async with` and its end.

    `listen` is the control address; bulk listens on the next port, or on any free one when the control port is 0.

    Raises:
        InfrastructureError: on entering, when a port cannot be had or libzmq is too old.
    """

    def __init__(self, listen: Address, keys: KeyPair, peers: Peers) -> None:
        self._listen = listen
        self._keys = keys
        self._own_keys = make_keys()
        self._peers = peers
        self._admission = Admission(peers)
        self._whereabouts = Whereabouts()
        self._reader = Reader(self._sources, self._take)
        self._bulk_paused = False
        self.counts = ServerCounts()
        self.audit = Audit()
        check_libzmq()
        scatter_dice()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._zap = ZapHandler(self._context, peers, self._own_keys.public, self.counts)

    # ---- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            self._zap.start()
            self._control, self._monitor = self._open(bulk=False)
            self.control_port = listen(self._control, self._listen)
            self._bulk, self._bulk_monitor = self._open(bulk=True)
            next_port = 0 if self._listen.port == 0 else self.control_port + 1
            self.bulk_port = listen(self._bulk, self._listen.with_port(next_port))
        except (InfrastructureError, zmq.ZMQError):
            self._zap.stop()
            self._context.destroy(linger=0)
            raise
        self._inlet, self._bulk_inlet = Inlet(self._control, _origin), Inlet(self._bulk, _origin)
        self._watch = asyncio.create_task(self._keep_watch(), name="watch over the ports")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close both ports; what was sent may leave for another `LINGER_MS`."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        for source in (self._inlet, self._bulk_inlet, self._monitor, self._bulk_monitor):
            self._reader.forget(source)
        self._zap.stop()
        self._monitor.close()
        self._bulk_monitor.close()
        self._control.close(LINGER_MS)
        self._bulk.close(LINGER_MS)
        await asyncio.to_thread(self._context.term)
        self.audit.look(None)
        voice.debug("ports closed", **asdict(self.counts))

    def _open(self, *, bulk: bool) -> tuple[zmq.Socket[bytes], Monitor]:
        socket = self._context.socket(zmq.ROUTER)
        apply_options(socket, server_options(self._keys, bulk=bulk))
        return socket, Monitor(self._context, socket, _WATCHED_EVENTS)

    async def _keep_watch(self) -> None:
        """See now and then that others can connect, and say what trouble there was."""
        loop, alarm = asyncio.get_running_loop(), Alarm(self.counts)
        while True:
            await asyncio.sleep(WATCH_MS / 1000)
            await self._keep_zap_alive()
            alarm.look(int(loop.time() * 1000))
            self.audit.look(int(loop.time() * 1000))

    async def _keep_zap_alive(self) -> None:
        """Shake hands with ourselves; when that fails nobody can connect, so the handler starts anew."""
        address = self._listen.with_port(self.control_port).from_here()
        answered = self.counts.handshakes
        alive = await handshake_succeeds(
            self._context, address, server_key=self._keys.public, keys=self._own_keys, timeout_ms=HANDSHAKE_MS
        )
        # One that answers others is alive, and has more handshakes to answer than it can.
        if not alive and self.counts.handshakes == answered:
            self.counts.zap_restarts += 1
            self._zap.restart()

    # ---- in --------------------------------------------------------------------------------------------------------

    @property
    def bulk_paused(self) -> bool:
        """Whether bulk is left unread, so that the runners hold it back."""
        return self._bulk_paused

    @bulk_paused.setter
    def bulk_paused(self, paused: bool) -> None:
        self._bulk_paused = paused
        self._reader.look_at(self._bulk_inlet)

    def wake(self) -> None:
        """Make the running or next `receive` return, with an empty batch if need be."""
        self._reader.wake()

    async def receive(self, timeout_ms: int) -> Batch:
        """What came in, as soon as there is something; an empty batch after `timeout_ms` or `wake`.

        Cancelling it loses nothing. One caller at a time.
        """
        return await self._reader.read(timeout_ms)

    def _sources(self) -> Iterable[Source]:
        monitors = (self._monitor, self._bulk_monitor)
        return (self._inlet, *monitors) if self._bulk_paused else (self._inlet, self._bulk_inlet, *monitors)

    def _take(self) -> Batch:
        if self._watch.done():
            self._watch.result()
        batch = Batch()
        if not self._inlet.dry:
            self._take_control(batch)
        if not self._monitor.dry or batch.control:
            # Also after any message, because a `Hello` counts only together with the news that are older than it.
            batch.gone = self._whereabouts.follow(self._news())
        if not self._bulk_monitor.dry:
            for event in self._bulk_monitor.take():
                self._count(event)
        if not self._bulk_paused and not self._bulk_inlet.dry:
            for taken in self._bulk_inlet.take(BULK_BATCH_MAX):
                batch.bulk += self._judge(*taken, bulk=True)
        return batch

    def _take_control(self, batch: Batch) -> None:
        while not self._inlet.dry and len(batch.control) < CONTROL_BATCH_MAX:
            for parts, origin in self._inlet.take(CONTROL_PIECE_MAX):
                for received in self._judge(parts, origin, bulk=False):
                    if isinstance(received.message, Hello):
                        self._whereabouts.said_hello(received.peer.key, received.route.id, origin[1])
                    batch.control.append(received)

    def _judge(self, parts: list[bytes], origin: _Origin, *, bulk: bool) -> list[Received]:
        """The messages in these parts; none after their sender was told why not, if that makes sense."""
        route = Route(bulk, parts[0])
        denied: Denied | None
        try:
            if not 1 < len(parts) < FRAMES_KEPT_MAX:
                raise ProtocolError(f"a message has 2 to {FRAMES_MAX} frames")
            if len(route.id) != _AUTOMATIC_ID_BYTES or route.id[0] != 0:
                raise ProtocolError("a peer does not choose its routing id")
            peer = self._admission.sender(origin[0], sum(map(len, parts)))
            if not isinstance(peer, Denied):
                messages = decode_all(parts[1:])
                denied = self._admission.allowed(peer, messages, bulk=bulk)
                if denied is None:
                    return [self._admit(peer, route, message) for message in messages]
            else:
                denied = peer
        except ProtocolError as error:
            self.counts.malformed += 1
            self._note(origin, MALFORMED)
            self.reply(route, Refused(reason=_short(error)))
            return []
        self.counts.denied += 1
        self._note(origin, MAY_NOT)
        if denied.told:
            self.reply(route, Refused(reason=denied.reason, final=denied.final))
        return []

    def _note(self, origin: _Origin, what: str) -> None:
        peer = self._peers.get(origin[0])
        if peer is not None:
            self.audit.count(peer, what)

    def _admit(self, peer: Sender, route: Route, message: Message) -> Received:
        self.counts.received += 1
        if not isinstance(message, Hello) or isinstance(peer, Stranger):
            return Received(peer, route, message)
        hello, beyond = as_enrolled(peer, message)
        return Received(peer, route, hello, beyond)

    def _news(self) -> Iterable[ConnectionEvent]:
        """Openings and closings of control connections; everything else is only counted."""
        for event in self._monitor.take():
            self._count(event)
            if event.event in {zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED}:
                yield event

    def _count(self, event: ConnectionEvent) -> None:
        match event.event:
            case zmq.EVENT_ACCEPTED:
                self.counts.connections += 1
            case zmq.EVENT_DISCONNECTED:
                self.counts.disconnections += 1
            case zmq.EVENT_ACCEPT_FAILED:
                self.counts.accept_failed += 1
            case _:
                self.counts.handshakes_failed += 1

    # ---- out -------------------------------------------------------------------------------------------------------

    def welcome(self, runner: str, route: Route) -> bool:
        """Make this connection the one of the runner with this key; False if it has closed since its `Hello`."""
        return self._whereabouts.welcomed(runner, route.id)

    def route(self, runner: str) -> Route | None:
        """The connection on which the runner with this key was last welcomed, if it has not closed."""
        route_id = self._whereabouts.route_id(runner)
        return None if route_id is None else Route(bulk=False, id=route_id)

    def reply(self, route: Route, *messages: Message) -> bool:
        """Say something on the connection that a message came from; False if it, or one of several messages, cannot be
        said now.
        """
        if route.bulk:
            return self._say(self._bulk, self._bulk_inlet, route.id, messages)
        return self._say(self._control, self._inlet, route.id, messages)

    def _say(
        self, socket: zmq.Socket[bytes], inlet: Inlet[_Origin], route_id: bytes, messages: Sequence[Message]
    ) -> bool:
        encoded = said = 0
        for frames, count in encode_all(messages):
            encoded += count
            said += count if _handed_over(socket, route_id, frames) else 0
        self.counts.too_large += len(messages) - encoded
        self.counts.unsent += encoded - said
        self.counts.sent += said
        if said:
            self._reader.look_at(inlet)
        return said == len(messages)


def _handed_over(socket: zmq.Socket[bytes], route_id: bytes, frames: list[bytes]) -> bool:
    try:
        socket.send(route_id, _MORE)
    except zmq.ZMQError as error:
        if error.errno not in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
            raise
        return False
    # Once the routing id is taken the rest is: ZeroMQ counts whole messages.
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], _LAST)
    return True


def _short(error: ProtocolError) -> str:
    return str(error)[:1_000]
