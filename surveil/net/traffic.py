"""What the server hands to its owner: judged messages, and where answers go.

What belongs here: plain values. What does not: how they come about (server).
"""

from __future__ import annotations

from dataclasses import field

from surveil.frozen import dataclass
from surveil.net.admission import Sender
from surveil.protocol import Message


@dataclass(frozen=True, slots=True)
class Route:
    """A connection: where an answer goes. It dies with the connection and says nothing about who is at its end."""

    bulk: bool
    id: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A message that `peer` has said and may say. `beyond` are the labels of a `Hello` that were dropped as not
    granted.
    """

    peer: Sender
    route: Route
    message: Message
    beyond: tuple[str, ...] = ()


@dataclass(slots=True)
class Batch:
    """What came in: control first, then bulk, then the keys of runners whose control connection the system has
    closed.
    """

    control: list[Received] = field(default_factory=list)
    bulk: list[Received] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.control or self.bulk or self.gone)
