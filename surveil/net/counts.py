"""What happens at a dispatcher's ports in numbers, and what of it its log tells before somebody looks for it.

What belongs here: the counts, which of them are trouble, and how seldom they are told. What does not: counting
(server, zap).
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Final

from surveil.say import Voice

SILENCE_MS: Final = 60_000
"""Between two lines: whoever knocks all day must not fill the disk with our complaints about it."""

TROUBLES: Final = (
    "foreign", "handshakes_failed", "handshakes_refused", "handshakes_broken", "accept_failed", "zap_restarts",
    "malformed", "denied", "too_large", "unanswered", "endless", "crowded", "unread",
)  # fmt: skip
"""The counts that stay as they are where all is well."""

HANDSHAKE_MS_MAX: Final = 5_000
"""No handshake takes as long: the server's sockets end it before."""

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
    foreign: int = 0
    """Connections that ended no handshake: what knocked there does not speak ZeroMQ, or not to this dispatcher."""
    handshakes: int = 0
    """Answered by us; one that never came so far is among those that failed."""
    handshakes_own: int = 0
    """With ourselves, to see that others could."""
    handshakes_done: int = 0
    handshakes_failed: int = 0
    """Broken off, or too slow."""
    handshakes_refused: int = 0
    """By a key that is unknown or revoked."""
    handshakes_broken: int = 0
    """Refused because we failed to judge them, which is our defect."""
    zap_restarts: int = 0
    endless: int = 0
    """Connections that were cut because they brought a message without an end."""
    crowded: int = 0
    """Connections that were cut because their key has too many, or because too many never say a word."""
    unanswered: int = 0
    """Questions that were asked as they should be, and that we failed to answer, which is our defect."""
    unread: int = 0
    """Messages that were not said because too much waits already for a peer that does not read."""
    last: dict[str, str] = field(default_factory=dict)
    """From which address a trouble came the last time, where that is known."""

    def troubles(self) -> list[tuple[str, int, str | None]]:
        """Each trouble that there was, how often, and from which address it came the last time."""
        counts = asdict(self)
        return [(name, counts[name], self.last.get(name)) for name in TROUBLES if counts[name]]

    def note(self, trouble: str, address: str) -> None:
        """Count a trouble once more, and remember where it came from."""
        setattr(self, trouble, getattr(self, trouble) + 1)
        if address:
            self.last[trouble] = address


class Alarm:
    """Warns of the troubles in `counts` that are new since its last line, at most once in `SILENCE_MS`."""

    def __init__(self, counts: ServerCounts) -> None:
        self._counts = counts
        self._told: dict[str, int] = dict.fromkeys(TROUBLES, 0)
        self._silent_until = 0
        self._connections: deque[tuple[int, int]] = deque()

    def look(self, now: int) -> None:
        """Look at the counts, at `now` milliseconds of a clock that only goes forward."""
        self._find_foreign(now)
        if now < self._silent_until:
            return
        counts = asdict(self._counts)
        new = {name: counts[name] - told for name, told in self._told.items() if counts[name] > told}
        if new:
            origins = {f"{name}_from": self._counts.last[name] for name in new if name in self._counts.last}
            voice.warning("trouble at the ports, counted since it was last told", **new, **origins)
            self._told = {name: counts[name] for name in TROUBLES}
            self._silent_until = now + SILENCE_MS

    def _find_foreign(self, now: int) -> None:
        """Whatever ends a handshake is told by ZeroMQ, but not that none was begun. Those are what is left of all
        connections that are old enough to have ended theirs; while others come and go, some are found only later.
        """
        counts, seen = self._counts, self._connections
        seen.append((now, counts.connections - counts.handshakes_own))
        while len(seen) > 1 and seen[1][0] <= now - HANDSHAKE_MS_MAX:
            seen.popleft()
        then, connections = seen[0]
        if then <= now - HANDSHAKE_MS_MAX:
            ended = counts.handshakes_done + counts.handshakes_failed + counts.handshakes_refused
            ended += counts.handshakes_broken - counts.handshakes_own
            counts.foreign = max(counts.foreign, connections - ended)
