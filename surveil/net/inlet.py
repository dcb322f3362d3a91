"""Taking whole messages off a socket without waiting, within a budget.

What belongs here: the step from frames to messages. What does not: what the messages are (server, connection), and
when to read (reader).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import zmq

from surveil.protocol import FRAMES_MAX

FRAMES_KEPT_MAX: Final = FRAMES_MAX + 2
"""A routing id, a message, and one frame too many that shows the rest to be nonsense."""
FRAMES_PER_TURN_MAX: Final = 4_096
"""Whoever sends messages of endless frames gets no more than these read before others have their turn."""

_NOBLOCK: Final = int(zmq.NOBLOCK)


SeenT = TypeVar("SeenT")


class Inlet(Generic[SeenT]):
    """Takes whole messages off one socket. Frames beyond `FRAMES_KEPT_MAX` of a message are dropped as they come.

    `look` is shown the last frame of each message and its parts up to then, as ZeroMQ tells where a message came from
    only while it has the frame; frames that live longer cost more than all else here.
    """

    def __init__(self, socket: zmq.Socket[Any], look: Callable[[zmq.Frame, list[bytes]], SeenT]) -> None:
        self._socket = socket
        self._look = look
        self._begun: list[bytes] = []
        self.descriptor = int(socket.getsockopt(zmq.FD))
        self.dry = False
        self.taken = 0
        """How many messages were taken."""

    def take(self, messages_max: int) -> list[tuple[list[bytes], SeenT]]:
        """Up to so many whole messages that wait now, each with what `look` saw; never blocks."""
        taken: list[tuple[list[bytes], SeenT]] = []
        receive, begun, look = self._socket.recv, self._begun, self._look
        self.dry = False
        for _ in range(FRAMES_PER_TURN_MAX):
            try:
                frame = receive(_NOBLOCK, False)
            except zmq.Again:
                self.dry = True
                break
            if len(begun) < FRAMES_KEPT_MAX:
                begun.append(frame.bytes)
            if not frame.more:
                taken.append((begun, look(frame, begun)))
                begun = self._begun = []
                if len(taken) >= messages_max:
                    break
        self.taken += len(taken)
        return taken
