"""What happens at a dispatcher's ports in numbers, and what of it its log tells before somebody looks for it.

What belongs here: the counts, which of them are trouble, and how seldom they are told. What does not: counting
(server, zap).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from surveil.say import Voice

SILENCE_MS: Final = 60_000
"""Between two lines: whoever knocks all day must not fill the disk with our complaints about it."""

TROUBLES: Final = (
    "handshakes_failed", "handshakes_broken", "accept_failed", "zap_restarts", "malformed", "denied", "too_large",
)  # fmt: skip
"""The counts that stay as they are where all is well."""

voice = Voice("net")


@dataclass(slots=True)
class ServerCounts:
    """What happened since the start."""

    received: int = 0
    malformed: int = 0
    denied: int = 0
    sent: int = 0
    unsent: int = 0
    too_large: int = 0
    connections: int = 0
    disconnections: int = 0
    accept_failed: int = 0
    handshakes: int = 0
    """Answered by us; one that never came so far is among those that failed."""
    handshakes_failed: int = 0
    handshakes_broken: int = 0
    """Refused because we failed to judge them, which is our defect."""
    zap_restarts: int = 0


class Alarm:
    """Warns of the troubles in `counts` that are new since its last line, at most once in `SILENCE_MS`."""

    def __init__(self, counts: ServerCounts) -> None:
        self._counts = counts
        self._told: dict[str, int] = dict.fromkeys(TROUBLES, 0)
        self._silent_until = 0

    def look(self, now: int) -> None:
        """Look at the counts, at `now` milliseconds of a clock that only goes forward."""
        if now < self._silent_until:
            return
        counts = asdict(self._counts)
        new = {name: counts[name] - told for name, told in self._told.items() if counts[name] > told}
        if new:
            voice.warning("trouble at the ports, counted since it was last told", **new)
            self._told = {name: counts[name] for name in TROUBLES}
            self._silent_until = now + SILENCE_MS
