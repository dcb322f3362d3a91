"""The peers' side of a connection: runner, observer and client, each with a control connection and perhaps one for
bulk.

What belongs here: sockets, their life, and noticing that a connection came or went. What does not: what is said and
repeated (the hands).

A connection mends itself: libzmq dials again after a loss, and when it gives up (it does after a refused handshake,
and after bytes that it cannot read) or nothing works for `REDIAL_MS`, the socket is made anew. The owner is told of
each change by a `Link` among the messages, and says `Hello` after each `CONNECTED`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, Self, TypeAlias

import zmq

from surveil.errors import ProtocolError
from surveil.frozen import dataclass
from surveil.net.addresses import Address
from surveil.net.inlet import Inlet
from surveil.net.keys import KeyPair
from surveil.net.monitor import Monitor
from surveil.net.options import LINGER_MS, apply_options, check_libzmq, peer_options, scatter_dice
from surveil.net.reader import Reader, Source
from surveil.protocol import Message, OnBulk, decode_all, encode, encode_all

BATCH_MAX: Final = 256
REDIAL_MS: Final = 15_000
GIVEN_UP_MS: Final = 100
"""When a connection ended and libzmq has not said by then that it dials again, it never does: so it is after bytes
that are no ZMTP. Where they were but cannot be decrypted, it says that a handshake failed and stands still, until
heartbeats are missed; there is nothing to wait for then.
"""
REFUSED_REDIAL_MS: Final = 5_000
"""A refused key is tried again, because it may be enrolled anew or the dispatcher may have been given back its table.
"""
UNJUDGED_REDIAL_MS: Final = 500
"""A dispatcher that failed to judge a key is asked again before it counts the peer as gone."""

_Dial: TypeAlias = Callable[[], tuple[zmq.Socket[bytes], Monitor]]
_LAST: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_REFUSED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_KEY_REFUSED: Final = 400
"""What a dispatcher answers a handshake by a key that it does not let in; any other refusal is its own trouble."""
_STRANGE: Final = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WATCHED_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | _REFUSED | _STRANGE
)


class Link(StrEnum):
    """What became of a connection."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    REFUSED = "refused"
    """The dispatcher does not let this key in: it is unknown or revoked, or no token is valid."""
    STRANGE = "strange"
    """Something answers, but it does not hold the dispatcher's key, or does not speak ZeroMQ."""
    BULK_CONNECTED = "bulk connected"
    BULK_DISCONNECTED = "bulk disconnected"


@dataclass(frozen=True, slots=True)
class Garbled:
    """The dispatcher said something that is no message of this version; `reason` is a sentence for people."""

    reason: str


Incoming: TypeAlias = Message | Link | Garbled


class Connection:
    """Both connections of one peer to the dispatcher at `address` that holds `server_key`, between `async with` and
    its end.
    """

    def __init__(self, address: Address, server_key: str, keys: KeyPair) -> None:
        check_libzmq()
        scatter_dice()
        self._address = address
        self._server_key = server_key
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        self._reader = Reader(self._sources, self._take)
        self._control: _Line | None = None
        self._bulk: _Line | None = None
        self._posted: list[Message] = []

    @property
    def connected(self) -> bool:
        """Whether the control connection stands."""
        return self._control is not None and self._control.up

    @property
    def bulk_connected(self) -> bool:
        """Whether the bulk connection stands."""
        return self._bulk is not None and self._bulk.up

    async def __aenter__(self) -> Self:
        self._control = self._line(self._address, bulk=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close; what was sent may leave for another `LINGER_MS`, if the dispatcher is there."""
        await self.close(LINGER_MS)

    async def close(self, linger_ms: int = 0) -> None:
        """Close both connections, and give what was sent `linger_ms` to leave."""
        for line in self._lines():
            line.close(linger_ms if line.up else 0)
        self._control = self._bulk = None
        await asyncio.to_thread(self._context.term)

    def use_bulk(self, port: int) -> None:
        """Open the bulk connection to this port of the dispatcher's host, as `Welcome` tells it; the same port again
        changes nothing.
        """
        if self._bulk is not None:
            if self._bulk.address.port == port:
                return
            self._bulk.close(0)
        self._bulk = self._line(self._address.with_port(port), bulk=True)
        self._reader.look_at(self._bulk.sources[0])

    def send(self, message: Message) -> bool:
        """Say something, on the bulk connection what belongs there and all else on control; False if it cannot be said
        now.

        Raises:
            ProtocolError: the message is larger than any peer would take.
        """
        line = self._bulk if isinstance(message, OnBulk) else self._control
        frames = encode(message)
        return line is not None and line.send(frames)

    def post(self, message: Message) -> None:
        """Have something said on control with the next `flush`, together with what else is posted until then."""
        self._posted.append(message)

    def flush(self) -> None:
        """Say what was posted, in as few parcels as may be; what cannot be said now is dropped."""
        posted, self._posted = self._posted, []
        for frames, _ in encode_all(posted):
            if self._control is not None:
                self._control.send(frames)

    def wake(self) -> None:
        """Make the running or next `receive` return, with an empty list if need be."""
        self._reader.wake()

    async def receive(self, timeout_ms: int) -> list[Incoming]:
        """Messages and changes in their order, as soon as there are any; an empty list after `timeout_ms` or `wake`.

        Cancelling it loses nothing. One caller at a time.
        """
        return await self._reader.read(timeout_ms)

    def _take(self) -> list[Incoming]:
        return [item for line in self._lines() for item in line.take()]

    def _lines(self) -> list[_Line]:
        return [line for line in (self._control, self._bulk) if line is not None]

    def _sources(self) -> list[Source]:
        return [source for line in self._lines() for source in line.sources]

    def _line(self, address: Address, *, bulk: bool) -> _Line:
        options = peer_options(self._keys, self._server_key, bulk=bulk)

        def dial() -> tuple[zmq.Socket[bytes], Monitor]:
            socket = self._context.socket(zmq.DEALER)
            apply_options(socket, options)
            monitor = Monitor(self._context, socket, _WATCHED_EVENTS)
            socket.connect(str(address))
            return socket, monitor

        return _Line(address, dial, self._reader, bulk=bulk)


def _not_looked_at(_last: zmq.Frame, _parts: list[bytes]) -> None:
    """There is one other end, and the handshake has proved which."""


class _Line:
    """One of a peer's two connections; it dials again when libzmq does not."""

    def __init__(self, address: Address, dial: _Dial, reader: Reader[list[Incoming]], *, bulk: bool) -> None:
        self.address = address
        self.up = False
        self._redial_at = 0.0
        self._dial = dial
        self._reader = reader
        self._came, self._went = (
            (Link.BULK_CONNECTED, Link.BULK_DISCONNECTED) if bulk else (Link.CONNECTED, Link.DISCONNECTED)
        )
        self._open()

    @property
    def sources(self) -> tuple[Inlet[None], Monitor]:
        return self._inlet, self._monitor

    def send(self, frames: list[bytes]) -> bool:
        """Whether the frames were taken; a connection that is down or full takes none."""
        if not self.up:
            return False
        try:
            self._socket.send(frames[0], _MORE)
        except zmq.Again:
            return False
        for frame in frames[1:-1]:
            self._socket.send(frame, _MORE)
        self._socket.send(frames[-1], _LAST)
        self._reader.look_at(self._inlet)
        return True

    def take(self) -> Iterator[Incoming]:
        """What came in. A loss is told before messages read with it, a connection before its first message."""
        # The first message may come before the news of its connection is seen, so the news is read with any message.
        messages = [] if self._inlet.dry else self._inlet.take(BATCH_MAX)
        if messages or not self._monitor.dry:
            changes = list(self._changes())
            if self._came in changes:
                # Reading lets the socket take note of its connection, so that the next word can be sent on it.
                messages += self._inlet.take(BATCH_MAX)
            yield from changes
        for parts, _ in messages:
            try:
                yield from decode_all(parts)
            except ProtocolError as error:
                yield Garbled(str(error))
        if not self.up and asyncio.get_running_loop().time() >= self._redial_at:
            self.close(0)
            self._open()

    def _changes(self) -> Iterator[Link]:
        now = asyncio.get_running_loop().time()
        for event in self._monitor.take():
            if event.event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.up = True
                yield self._came
            elif event.event == _REFUSED and event.value != _KEY_REFUSED:
                # It failed to judge us, and will not do so the next time; the key is as good as ever.
                self._redial_at = min(self._redial_at, now + UNJUDGED_REDIAL_MS / 1000)
            elif event.event == _REFUSED:
                self._redial_at = min(self._redial_at, now + REFUSED_REDIAL_MS / 1000)
                yield Link.REFUSED
            elif event.event & _STRANGE and not self.up:
                yield Link.STRANGE
            elif event.event == zmq.EVENT_CONNECT_RETRIED:
                self._redial_at = max(self._redial_at, now + REDIAL_MS / 1000)
            elif self.up:
                self.up = False
                self._redial_at = now
                if event.event == zmq.EVENT_DISCONNECTED:
                    self._redial_at += GIVEN_UP_MS / 1000
                    asyncio.get_running_loop().call_later(GIVEN_UP_MS / 1000, self._reader.wake)
                yield self._went

    def _open(self) -> None:
        self._socket, self._monitor = self._dial()
        self._inlet = Inlet(self._socket, _not_looked_at)
        self._redial_at = asyncio.get_running_loop().time() + REDIAL_MS / 1000

    def close(self, linger_ms: int) -> None:
        """Close the socket for good."""
        for source in self.sources:
            self._reader.forget(source)
        self._monitor.close()
        self._socket.close(linger_ms)
