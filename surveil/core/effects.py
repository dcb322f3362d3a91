"""Everything that the dispatcher's mind can ask of the world.

Effects are performed in order, after the commit of what caused them.

What belongs here: their shapes. What does not: when they are wanted (the mind), and performing them (the hands).
"""

from __future__ import annotations

from typing import TypeAlias

from surveil.frozen import dataclass
from surveil.protocol import Refused, ToRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Say this to a runner on the connection on which it was welcomed; if there is none, its next `Hello` repairs the
    loss.
    """

    runner: str
    message: ToRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBack:
    """Answer on the connection `via` on which this runner's word came. A `Welcome` makes that connection the runner's:
    from then on it is where `Send` speaks, and whose end is told.
    """

    runner: str
    via: bytes
    message: ToRunner | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell whoever reported the fact `mid` that it is on disk, as `build`."""

    mid: str
    build: int


Effect: TypeAlias = Send | SendBack | Acknowledge
