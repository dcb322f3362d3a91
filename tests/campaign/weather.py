"""What the way between two hosts does to the bytes that take it.

What belongs here: plain values that a campaign hands to its proxies. What does not: doing it (proxy), and when
(faults).

A proxy stands between two TCP connections, so some things that networks do cannot be done here, and need not be: the
kernels at both ends see to it that a stream has its bytes once and in their order, whatever becomes of packets. What
reaches a program of packets that were lost, came twice or out of order is lateness, and that is what `loss` makes.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

SEGMENT_BYTES: Final = 1_448
"""What one packet carries on most networks."""
REPEAT_MS: Final = 200
"""How soon Linux sends a lost packet again; each further time takes twice as long."""
REPEATS_MAX: Final = 7


class Way(Enum):
    """A direction, seen from a runner."""

    UP = "to the dispatcher"
    DOWN = "to the runner"


class End(Enum):
    """How a connection ends: in an orderly manner, or as when its peer's kernel knows nothing of it."""

    CUT = "cut"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """One direction, from now on. Fair by default.

    stalled: nothing passes, the end of a connection neither; all of it arrives when the weather clears, as after a cut
        of a cable. New connections are taken, since a proxy cannot leave a SYN unanswered, but reach nobody.
    swallowed: bytes are taken and thrown away, as by a middle box that lost its table. A connection that lost some is
        reset when the weather clears.
    piece_bytes: so many bytes are handed on at once; 1 is a trickle.
    """

    stalled: bool = False
    swallowed: bool = False
    delay_ms: int = 0
    jitter_ms: int = 0
    loss: float = 0.0
    bytes_per_s: int | None = None
    piece_bytes: int = 64 * 1024

    def late_ms(self, size: int, dice: Random) -> float:
        """How long after they left so many bytes arrive."""
        late = self.delay_ms + dice.uniform(0, self.jitter_ms)
        return late + max(self._lost_ms(dice) for _ in range(0, max(size, 1), SEGMENT_BYTES))

    def _lost_ms(self, dice: Random) -> float:
        repeats = 0
        while repeats < REPEATS_MAX and dice.random() < self.loss:
            repeats += 1
        return float(REPEAT_MS * (2**repeats - 1))


FAIR: Final = Weather()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What happens once, to the byte that is the `after`th to pass from now on: the connection ends in front of it, or
    one bit of it is flipped.
    """

    after: int
    end: End | None = None
    flip: int = 0
