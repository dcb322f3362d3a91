"""The dispatcher's side of every connection: two sockets, read in batches, each message judged before anybody sees it.

What belongs here: the two lanes together, their life, what looks after them all the time, and the way of messages in
and out. What does not: one socket (lane), the judgement on a message (judging), what messages mean (core), what is
answered (dispatcher), who is known (peers).

`receive` reads the sockets only when it is called and only a bounded piece, so what the caller cannot take in waits
in ZeroMQ's bounded queues and then in the peers. `reply` never waits: it returns False when the peer is
gone or does not read, and the protocol repeats what matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final, Self

import zmq

from surveil.errors import InfrastructureError
from surveil.net.addresses import Address
from surveil.net.admission import Admission
from surveil.net.audit import CROWDED, ENDLESS, UNREAD, Audit
from surveil.net.counts import Alarm, ServerCounts
from surveil.net.endless import give_memory_back
from surveil.net.judging import Judge
from surveil.net.keys import KeyPair, make_keys
from surveil.net.lane import Lane
from surveil.net.options import LINGER_MS, check_libzmq, scatter_dice
from surveil.net.peers import Peers
from surveil.net.reader import Reader, Source
from surveil.net.tenancy import Tenancy
from surveil.net.traffic import Batch, Route
from surveil.net.watchdog import handshake_succeeds
from surveil.net.whereabouts import Whereabouts
from surveil.net.zap import ZapHandler
from surveil.protocol import Hello, Message
from surveil.say import Voice

CONTROL_BATCH_MAX: Final = 512
"""Once so many messages of control are taken, the others wait for the next turn."""
CONTROL_PIECE_MAX: Final = 8
"""So many parcels are taken before the messages in them are counted."""
BULK_BATCH_MAX: Final = 32
"""So many chunks of 256 KiB are 8 MiB, which are copied in a few milliseconds."""
WATCH_MS: Final = 10_000
HANDSHAKE_MS: Final = 5_000
ENDLESS_MS: Final = 250
"""How often somebody looks for messages that never end; a fast network brings some 30 MB meanwhile."""
SUSPECT_MS: Final = 5
"""How soon after one look that found much, so that what is whole of it is taken meanwhile."""
CONNECTION_MS: Final = 1
"""For each connection it takes so much longer, so that looking stays cheap."""
IO_THREADS: Final = 2
SOCKETS_MAX: Final = 64
_BLAMED: Final = {"endless": ENDLESS, Tenancy.CROWDED: CROWDED, Tenancy.UNREAD: UNREAD}
"""Under which name the audit counts what a connection did."""

voice = Voice("net")


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
        self._admission = Admission(peers)
        self._whereabouts = Whereabouts()
        self._reader = Reader(self._sources, self._take)
        self._bulk_paused = False
        self.counts = ServerCounts()
        self.audit = Audit()
        self._judge = Judge(self._admission, self.counts, self.audit, self.reply)
        check_libzmq()
        scatter_dice()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._zap = ZapHandler(self._context, peers, self._own_keys.public, self.counts)

    # ---- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            self._zap.start()
            self._control = self._lane(self._listen, bulk=False)
            next_port = 0 if self._listen.port == 0 else self._control.port + 1
            self._bulk = self._lane(self._listen.with_port(next_port), bulk=True)
        except (InfrastructureError, zmq.ZMQError):
            self._zap.stop()
            self._context.destroy(linger=0)
            raise
        self._watches = (
            asyncio.create_task(self._keep_watch(), name="watch over the ports"),
            asyncio.create_task(self._keep_bounds(), name="watch over messages that never end"),
        )
        return self

    def _lane(self, address: Address, *, bulk: bool) -> Lane:
        return Lane(self._context, address, self._keys, self.counts, self._blame, bulk=bulk)

    async def __aexit__(self, *_: object) -> None:
        """Close both ports; what was sent may leave for another `LINGER_MS`."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._zap.stop()
        for lane in (self._control, self._bulk):
            for source in (lane.inlet, lane.monitor):
                self._reader.forget(source)
            lane.close(LINGER_MS)
        await asyncio.to_thread(self._context.term)
        self.audit.look(None)
        voice.debug("ports closed", **asdict(self.counts))

    @property
    def control_port(self) -> int:
        """The port that peers dial first."""
        return self._control.port

    @property
    def bulk_port(self) -> int:
        """The port that runners are told of."""
        return self._bulk.port

    async def _keep_watch(self) -> None:
        """Say now and then what trouble there was, and see that others can connect."""
        loop, alarm = asyncio.get_running_loop(), Alarm(self.counts)
        while True:
            await asyncio.sleep(WATCH_MS / 1000)
            # Our own last handshake is long over: who looks right after one counts it before its news were read, and
            # takes the connection for a foreign one.
            alarm.look(int(loop.time() * 1000))
            self.audit.look(int(loop.time() * 1000))
            await self._keep_zap_alive()

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

    async def _keep_bounds(self) -> None:
        """Let nobody fill the memory with a message that never ends."""
        lanes = (self._control, self._bulk)
        some_cut = False
        while True:
            wait_ms = max(ENDLESS_MS, CONNECTION_MS * sum(lane.connections for lane in lanes))
            await asyncio.sleep((SUSPECT_MS if any(lane.suspects for lane in lanes) else wait_ms) / 1000)
            # Whoever reads has its turn first: a socket that was only marked to be read again looks like one that is
            # not read at all, and its connections may hold much more. Two timers can meet like that for a long time.
            await asyncio.sleep(0)
            hoards = [hoard for lane in lanes for hoard in lane.cut_endless()]
            for hoard in hoards:
                self._blame(hoard.user, "endless", hoard.address)
            if some_cut and not hoards:
                # By now libzmq has found the end of those that were cut, and let go of what they held.
                await asyncio.to_thread(give_memory_back)
            some_cut = bool(hoards)

    def _blame(self, user: str, trouble: str, address: str) -> None:
        """Count what a connection did, for its key as well if it is an enrolled one's."""
        peer = self._admission.known(user)
        if peer is not None:
            self.audit.count(peer, _BLAMED[trouble])
        self.counts.note(trouble, address)

    # ---- in --------------------------------------------------------------------------------------------------------

    @property
    def bulk_paused(self) -> bool:
        """Whether bulk is left unread, so that the runners hold it back."""
        return self._bulk_paused

    @bulk_paused.setter
    def bulk_paused(self, paused: bool) -> None:
        self._bulk_paused = paused
        self._reader.look_at(self._bulk.inlet)

    def wake(self) -> None:
        """Make the running or next `receive` return, with an empty batch if need be."""
        self._reader.wake()

    async def receive(self, timeout_ms: int) -> Batch:
        """What came in, as soon as there is something; an empty batch after `timeout_ms` or `wake`.

        Cancelling it loses nothing. One caller at a time.
        """
        return await self._reader.read(timeout_ms)

    def _sources(self) -> Iterable[Source]:
        control, bulk = self._control, self._bulk
        monitors = (control.monitor, bulk.monitor)
        return (control.inlet, *monitors) if self._bulk_paused else (control.inlet, bulk.inlet, *monitors)

    def _take(self) -> Batch:
        for watch in self._watches:
            if watch.done():
                watch.result()
        control, bulk = self._control, self._bulk
        batch = Batch()
        if not control.inlet.dry:
            self._take_control(batch)
        if not control.monitor.dry or batch.control:
            # Also after any message, because a `Hello` counts only together with the news that are older than it.
            batch.gone = self._whereabouts.follow(control.news())
        if not self._bulk_paused and not bulk.inlet.dry:
            for taken in bulk.inlet.take(BULK_BATCH_MAX):
                batch.bulk += self._judge.judge(*taken, bulk=True)
        if not bulk.monitor.dry or batch.bulk:
            bulk.news()
        return batch

    def _take_control(self, batch: Batch) -> None:
        inlet = self._control.inlet
        while not inlet.dry and len(batch.control) < CONTROL_BATCH_MAX:
            for parts, origin in inlet.take(CONTROL_PIECE_MAX):
                for received in self._judge.judge(parts, origin, bulk=False):
                    if isinstance(received.message, Hello):
                        self._whereabouts.said_hello(received.peer.key, received.route.id, origin[1])
                    batch.control.append(received)

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
        lane = self._bulk if route.bulk else self._control
        said = lane.say(route.id, messages)
        if said:
            self._reader.look_at(lane.inlet)
        return said == len(messages)
