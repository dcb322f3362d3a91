"""The network between one runner's host and the dispatcher: a TCP proxy that can be told to be a bad one.

What belongs here: forwarding, and each thing that goes wrong on the way. What does not: what a way is like (weather),
and which of it happens when (faults).

A runner learns the bulk port from `Welcome` and dials it at the address that it has for the dispatcher. So a proxy
listens at an address of its own on the same ports as the dispatcher, for control and bulk alike, and is what the
runner takes for the dispatcher.

It runs in a thread of its own, so that a campaign is plain code; each order has taken effect when its call returns.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final, Self, TypeVar

from tests.campaign.carrying import Connection, ended
from tests.campaign.weather import FAIR, Blow, End, Way, Weather

ORDER_S: Final = 10.0
BACKLOG: Final = 1_024
CATCH_UP_S: Final = 0.25

ResultT = TypeVar("ResultT")


class Proxy:
    """Forwards `ports` of the address `at` to the same ports of the address `to`, between `with` and its end.

    `counts` tells what it has seen since its start: connections "accepted", "lost" (ended by us), and bytes per way.
    """

    def __init__(self, at: str, to: str, ports: tuple[int, ...], seed: int = 0) -> None:
        self._at, self._to = at, to
        self.ports = ports
        self.dice = Random(seed)
        self.counts: Counter[str | Way] = Counter()
        self.weather = dict.fromkeys(Way, FAIR)
        self.blows: dict[tuple[Way, int | None], Blow] = {}
        self._free_at = dict.fromkeys(Way, 0.0)
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Task[None]] = []
        self._flapping: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy at {at}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._order(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._order(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ORDER_S)
        self._loop.close()

    # ---- orders ----------------------------------------------------------------------------------------------------

    def set(self, weather: Weather, *ways: Way) -> None:
        """Have this weather on these ways, or on both."""
        self._order(self._set(weather, ways or tuple(Way)))

    def stall(self, *ways: Way) -> None:
        """Let nothing pass on these ways, or on both, until `heal`; nothing is lost."""
        self.set(Weather(stalled=True), *ways)

    def swallow(self, *ways: Way) -> None:
        """Take what is sent on these ways, or on both, and throw it away, until `heal`."""
        self.set(Weather(swallowed=True), *ways)

    def end_all(self, end: End) -> int:
        """End every connection that stands, towards both sides; how many there were."""
        return self._order(self._end_all(end))

    def refuse(self) -> None:
        """Take no new connections, until `heal`; those that stand go on."""
        self._order(self._deafen())

    def strike(self, blow: Blow, way: Way, port: int | None = None) -> None:
        """Let this happen to the next bytes on this way; on the connections of this port only, if it is named."""
        self._order(self._put(lambda: self.blows.__setitem__((way, port), blow)))

    def strand(self, way: Way) -> int:
        """Leave every connection half open: the end that `way` leads to stands and hears nothing more, the other end
        is reset. New connections are as good as ever. Returns how many were stranded.
        """
        return self._order(self._strand(way))

    def flap(self, up_ms: int, down_ms: int, end: End | None = None) -> None:
        """Be down and up by turns until `heal`. Down, nothing passes; with `end`, connections end and none is taken."""
        self._order(self._flap(up_ms, down_ms, end))

    def heal(self) -> None:
        """Be a good network again. Connections that lost bytes are reset; those that were stranded stay so."""
        self._order(self._heal())

    def heal_in(self, seconds: float) -> None:
        """The same, so many seconds from now, however busy whoever ordered it is then."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._heal_now)

    @property
    def standing(self) -> int:
        """How many connections there are, stranded ones included."""
        return self._order(self._put(lambda: len(self._connections)))

    @property
    def stranded(self) -> int:
        """How many connections are half open; whoever holds the other end has not noticed yet."""
        return self._order(self._put(lambda: sum(each.half_open for each in self._connections)))

    # ---- how they are carried out, in the proxy's thread -----------------------------------------------------------

    def _order(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ORDER_S)

    @staticmethod
    async def _put(change: Callable[[], ResultT]) -> ResultT:
        return change()

    async def _set(self, weather: Weather, ways: tuple[Way, ...]) -> None:
        for way in ways:
            self.weather[way] = weather
            self._free_at[way] = 0.0
        for connection in self._connections:
            connection.weather_changed()

    async def _end_all(self, end: End) -> int:
        ended = [each for each in self._connections if not each.half_open]
        await asyncio.gather(*(each.finish(end) for each in ended))
        return len(ended)

    async def _strand(self, way: Way) -> int:
        return sum([await each.strand(way) for each in tuple(self._connections)])

    async def _flap(self, up_ms: int, down_ms: int, end: End | None) -> None:
        await self._steady()
        self._flapping = asyncio.create_task(self._flaps(up_ms / 1000, down_ms / 1000, end))

    async def _flaps(self, up_s: float, down_s: float, end: End | None) -> None:
        while True:
            self.counts["flaps"] += 1
            if end is None:
                await self._set(Weather(stalled=True), tuple(Way))
            else:
                await self._deafen()
                await self._end_all(end)
            await asyncio.sleep(down_s)
            await self._listen()
            await self._set(FAIR, tuple(Way))
            await asyncio.sleep(up_s)

    async def _steady(self) -> None:
        await ended(self._flapping)
        self._flapping = None

    async def _heal(self) -> None:
        await self._steady()
        self.blows.clear()
        await self._set(FAIR, tuple(Way))
        await self._listen()

    def _heal_now(self) -> None:
        self._healing = self._loop.create_task(self._heal())

    async def _close(self) -> None:
        await ended(self._healing)
        await self._steady()
        await self._deafen()
        await asyncio.gather(*(each.finish(End.RESET) for each in tuple(self._connections)))

    async def _listen(self) -> None:
        if self._listeners:
            return
        for port in self.ports:
            listener = socket.create_server((self._at, port), backlog=BACKLOG)
            listener.setblocking(False)
            self._listeners.append(asyncio.create_task(self._accept(listener, port)))

    async def _deafen(self) -> None:
        # Each listener is closed by its own task, and all are told before the first wait: a flap that is healed just
        # now is cancelled here, and would else leave a listener that is open and that nobody accepts from.
        listeners, self._listeners = self._listeners, []
        for accepting in listeners:
            accepting.cancel()
        for accepting in listeners:
            await ended(accepting)

    async def _accept(self, listener: socket.socket, port: int) -> None:
        with listener:
            while True:
                runner, _ = await self._loop.sock_accept(listener)
                self.counts["accepted"] += 1
                self._connections.add(Connection(self, runner, (self._to, port), self._connections.discard))

    # ---- what connections ask --------------------------------------------------------------------------------------

    def blow_at(self, way: Way, port: int, size: int) -> tuple[int, Blow] | None:
        """Where in the next so many bytes something is to happen, and what."""
        for key in ((way, port), (way, None)):
            blow = self.blows.get(key)
            if blow is None:
                continue
            if blow.after < size:
                del self.blows[key]
                return blow.after, blow
            self.blows[key] = Blow(after=blow.after - size, end=blow.end, flip=blow.flip)
        return None

    async def pace(self, way: Way, size: int) -> None:
        """Wait until so many bytes have passed a way that may be narrow; all connections share it."""
        rate = self.weather[way].bytes_per_s
        if rate is not None:
            now = self._loop.time()
            # What a busy machine made late is caught up, or the way would be narrower than it is said to be.
            self._free_at[way] = max(now - CATCH_UP_S, self._free_at[way]) + size / rate
            await asyncio.sleep(max(0.0, self._free_at[way] - now))
