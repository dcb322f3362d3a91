"""Reading a socket without waiting, in batches, and being woken when there is more.

What belongs here: taking whole messages off a ZeroMQ socket within a budget, and the wake-up through its file
descriptor. What does not: what the messages are (server, connection).

ZeroMQ's descriptor tells of changes, not of states: it may stay silent while messages wait, after any call on the
socket. Two rules make that harmless. A reader waits only after a read that found nothing. Whoever sends on a socket
wakes its reader, since sending may have used up the sign that something came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import zmq

from surveil.protocol import FRAMES_MAX

FRAMES_KEPT_MAX: Final = FRAMES_MAX + 2
"""A routing id, a message, and one frame too many that shows the rest to be nonsense."""
FRAMES_PER_TURN_MAX: Final = 4_096
"""Whoever sends messages of endless frames gets no more than these read before others have their turn."""

_NOBLOCK: Final = int(zmq.NOBLOCK)


class Inlet:
    """Takes whole messages off one socket. Frames beyond `FRAMES_KEPT_MAX` of a message are dropped as they come."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self._socket = socket
        self._begun: list[zmq.Frame] = []
        self.dry = False
        """Whether the last read found nothing more, so that the descriptor will tell of the next message."""

    def take(self, messages_max: int) -> list[list[zmq.Frame]]:
        """Up to so many whole messages that wait now; never blocks."""
        taken: list[list[zmq.Frame]] = []
        receive, begun = self._socket.recv, self._begun
        self.dry = False
        for _ in range(FRAMES_PER_TURN_MAX):
            try:
                frame = receive(_NOBLOCK, False)
            except zmq.Again:
                self.dry = True
                break
            if len(begun) < FRAMES_KEPT_MAX:
                begun.append(frame)
            if not frame.more:
                taken.append(begun)
                begun = self._begun = []
                if len(taken) >= messages_max:
                    break
        return taken


@dataclass(slots=True)
class Alarm:
    """Sleeps until one of some descriptors is ready or somebody rings. One sleeper at a time.

    A descriptor is watched only from the start of a sleep until it fires, so that a busy owner is not called for what
    it cannot read yet.
    """

    _watched: set[int] = field(default_factory=set)
    _rung: bool = False
    _sleeper: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the sleeper, or keep it from falling asleep next time."""
        self._rung = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, descriptors: Sequence[int], timeout_ms: int) -> None:
        """Return at once if it was rung since the last sleep, else when rung, when a descriptor is ready, or after
        `timeout_ms`.
        """
        loop = asyncio.get_running_loop()
        if self._rung:
            self._rung = False
            return
        for descriptor in descriptors:
            if descriptor not in self._watched:
                loop.add_reader(descriptor, self._fired, descriptor)
                self._watched.add(descriptor)
        self._sleeper = loop.create_future()
        timer = loop.call_later(timeout_ms / 1000, self.ring)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None
            self._rung = False

    def forget(self, descriptors: Sequence[int]) -> None:
        """Stop watching; called before their sockets are closed, because the numbers will be given to others."""
        for descriptor in self._watched.intersection(descriptors):
            asyncio.get_running_loop().remove_reader(descriptor)
            self._watched.discard(descriptor)

    def _fired(self, descriptor: int) -> None:
        self.forget((descriptor,))
        self.ring()
