"""Everything that the dispatcher's mind can ask of the world.

Effects are performed in order, after the commit of what caused them.
"""

from __future__ import annotations

from typing import TypeAlias

from surveil.frozen import dataclass
from surveil.protocol import ToRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Say this to a runner, if it is connected; if it is not, its next `Hello` repairs the loss."""

    runner: str
    message: ToRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell whoever reported the fact `mid` that it is on disk, as `build`."""

    mid: str
    build: int


Effect: TypeAlias = Send | Acknowledge
