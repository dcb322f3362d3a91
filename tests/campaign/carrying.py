"""One connection through a proxy: two sockets, and the bytes under way between them.

What belongs here: what becomes of one connection under a weather. What does not: the weather itself, and which
connections there are (proxy).
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, Final, Protocol

from tests.campaign.weather import Blow, End, Way, Weather

UNDER_WAY_BYTES_MAX: Final = 256 * 1024
"""What a way holds in flight; whoever sends more waits, as behind a full window."""
READ_BYTES: Final = 64 * 1024
FAREWELL_S: Final = 1.0
"""How long a connection that was cut may take to be closed by both its ends before it is dropped."""
ASK_S: Final = 1
ASKED_MAX: Final = 10
"""So often in vain, and there is no such host."""

_ABORT: Final = struct.pack("ii", 1, 0)
"""The setting of SO_LINGER with which a socket that is closed says RST."""


class Network(Protocol):
    """What connections share."""

    dice: Random
    counts: Counter[str | Way]
    weather: dict[Way, Weather]

    def blow_at(self, way: Way, port: int, size: int) -> tuple[int, Blow] | None:
        """Where in the next so many bytes something is to happen, and what."""

    async def pace(self, way: Way, size: int) -> None:
        """Wait until so many bytes have passed a way that may be narrow."""


class _Ended(Exception):
    """This connection is to end now, in this manner, towards both sides."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


class Connection:
    """Two sockets, each under the name of the way that leads to it, and both ways between them.

    `gone` is called with it once it has ended.
    """

    def __init__(
        self, network: Network, runner: socket.socket, to: tuple[str, int], gone: Callable[["Connection"], None]
    ) -> None:
        self.network = network
        self.port = to[1]
        self.half_open = False
        self.torn: set[Way] = set()
        self._to = to
        self._gone = gone
        self._sockets = {Way.DOWN: _prepared(runner)}
        self._changed = asyncio.Event()
        self._end = End.CUT
        self._live(self._run())

    def _live(self, life: Coroutine[Any, Any, None]) -> None:
        self._life = asyncio.create_task(life)
        self._life.add_done_callback(self._over)

    def _over(self, life: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step has closed nothing.
        for each in self._sockets.values():
            each.close()
        if life is self._life:
            self._gone(self)

    # ---- what is done to it ----------------------------------------------------------------------------------------

    def weather_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        if any(not self.network.weather[way].swallowed for way in self.torn):
            self._end = End.RESET
            self._life.cancel()

    async def finish(self, end: End) -> None:
        """End it towards both sides."""
        self.network.counts["lost"] += 1
        self._end = end
        await ended(self._life)

    async def strand(self, way: Way) -> bool:
        """Leave one end standing; whether there are two."""
        if self.half_open or len(self._sockets) < len(Way):
            return False
        self.half_open = True
        standing = self._sockets.pop(way)
        former, self._life = self._life, asyncio.create_task(asyncio.sleep(0))
        self._end = End.RESET
        await ended(former)
        self._sockets = {way: standing}
        self._live(self._listen_in_vain(standing))
        return True

    async def _listen_in_vain(self, standing: socket.socket) -> None:
        """What a host that died without a word does for those who still speak to it, until they give up.

        They may die without a word themselves, or their last one be lost with their host's link. As nothing is said
        to them here, only the kernel can find that out; a process that lives, or stands still, is answered for by its.
        """
        _have_asked_after(standing)
        with suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(standing, READ_BYTES):
                continue

    # ---- its life --------------------------------------------------------------------------------------------------

    async def clear(self, way: Way) -> None:
        """Wait until something passes this way."""
        while self.network.weather[way].stalled:
            await self._changed.wait()

    async def _run(self) -> None:
        try:
            while self.network.weather[Way.UP].stalled or self.network.weather[Way.UP].swallowed:
                await self._changed.wait()
            dispatcher = _prepared(socket.socket())
            self._sockets[Way.UP] = dispatcher
            await asyncio.get_running_loop().sock_connect(dispatcher, self._to)
            async with asyncio.TaskGroup() as tasks:
                for way, source in ((Way.UP, self._sockets[Way.DOWN]), (Way.DOWN, dispatcher)):
                    stream = _Stream(self, way, source, self._sockets[way])
                    tasks.create_task(stream.read())
                    tasks.create_task(stream.write())
        except* _Ended as group:
            first = group.exceptions[0]
            self._end = first.end if isinstance(first, _Ended) else End.RESET
        except* OSError:
            self._end = End.RESET
        finally:
            await self._part()

    async def _part(self) -> None:
        if self._end is End.CUT:
            farewells = [asyncio.create_task(_farewell(each)) for each in self._sockets.values()]
            _, pending = await asyncio.wait(farewells, timeout=FAREWELL_S)
            await asyncio.gather(*map(ended, pending))
        for each in self._sockets.values():
            if self._end is End.RESET:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            each.close()


class _Stream:
    """One way of one connection: what was read, and when it is due at the other end."""

    def __init__(self, connection: Connection, way: Way, source: socket.socket, target: socket.socket) -> None:
        self._connection, self._network, self._way = connection, connection.network, way
        self._source, self._target = source, target
        self._under_way: deque[tuple[float, bytes | End]] = deque()
        self._held = 0
        self._moved = asyncio.Condition()

    async def read(self) -> None:
        """Take what comes, until its sender ends."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data: bytes | End = await loop.sock_recv(self._source, READ_BYTES) or End.CUT
            except ConnectionError:
                data = End.RESET
            size = 0 if isinstance(data, End) else len(data)
            late_ms = self._network.weather[self._way].late_ms(size, self._network.dice)
            async with self._moved:
                self._under_way.append((loop.time() + late_ms / 1000, data))
                self._held += size
                self._moved.notify_all()
                if isinstance(data, End):
                    return
                await self._moved.wait_for(lambda: self._held < UNDER_WAY_BYTES_MAX)

    async def write(self) -> None:
        """Hand on what is due; return after an orderly end."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: bool(self._under_way))
                due_at, data = self._under_way.popleft()
            await asyncio.sleep(due_at - asyncio.get_running_loop().time())
            if isinstance(data, End):
                await self._connection.clear(self._way)
                if self._swallowed():
                    return
                if data is End.RESET:
                    raise _Ended(data)
                with suppress(OSError):  # The target may be dead; the other stream has the news of that.
                    self._target.shutdown(socket.SHUT_WR)
                return
            try:
                await self._hand_on(data)
            except ConnectionError:
                return  # The same.
            async with self._moved:
                self._held -= len(data)
                self._moved.notify_all()

    async def _hand_on(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            await self._connection.clear(self._way)
            piece = data[at : at + self._network.weather[self._way].piece_bytes]
            at += len(piece)
            if self._swallowed():
                continue
            await self._network.pace(self._way, len(piece))
            blow = self._network.blow_at(self._way, self._connection.port, len(piece))
            if blow is not None:
                piece = await self._blown(piece, *blow)
            await asyncio.get_running_loop().sock_sendall(self._target, piece)
            self._network.counts[self._way] += len(piece)

    async def _blown(self, piece: bytes, at: int, blow: Blow) -> bytes:
        """The piece with one bit flipped; or its beginning is all that arrives."""
        self._network.counts["blows"] += 1
        if blow.end is None:
            return piece[:at] + bytes([piece[at] ^ 1 << blow.flip]) + piece[at + 1 :]
        await asyncio.get_running_loop().sock_sendall(self._target, piece[:at])
        self._network.counts["lost"] += 1
        raise _Ended(blow.end)

    def _swallowed(self) -> bool:
        if self._network.weather[self._way].swallowed:
            self._connection.torn.add(self._way)
            return True
        return False


def _prepared(each: socket.socket) -> socket.socket:
    each.setblocking(False)
    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return each


def _have_asked_after(each: socket.socket) -> None:
    """Let the kernel ask the other end's whether there still is such a connection."""
    each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, ASK_S),
        (socket.TCP_KEEPINTVL, ASK_S),
        (socket.TCP_KEEPCNT, ASKED_MAX),
    ):
        each.setsockopt(socket.IPPROTO_TCP, option, value)


async def _farewell(each: socket.socket) -> None:
    """Say that we are done, and wait for the peer to say so: whoever closes over unread bytes says RST instead."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_WR)
        while await asyncio.get_running_loop().sock_recv(each, READ_BYTES):
            continue


async def ended(task: asyncio.Task[None] | None) -> None:
    """Have a task end, and wait until it has."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
