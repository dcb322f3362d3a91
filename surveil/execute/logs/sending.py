"""Sends the logs of all attempts, a window of each at a time, until they are kept.

What belongs here: which piece of which log is next. What does not: the windows' rules (`output`), where pieces come
from and go to (both are given).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from surveil.core.model import AttemptId
from surveil.execute.logs.output import Chunk, Window
from surveil.execute.logs.spool import DamagedError

LATE_MS: Final = 10_000
"""What was sent and not acknowledged for so long is sent again, whatever the connection says."""
REPEAT_MS: Final = 500
PIECES_MAX: Final = 32
"""After so many pieces the loop looks after everything else."""
FULL_MS: Final = 20
"""How long to wait when the connection takes no more."""

Read = Callable[[AttemptId, int, int], Chunk | None]
Send = Callable[[AttemptId, Chunk], bool]


class Logs:
    """The windows of all attempts' logs. `read` raises DamagedError where a log is damaged."""

    def __init__(self, read: Read, send: Send) -> None:
        self._read = read
        self._send = send
        self._windows: dict[AttemptId, Window] = {}
        self._full_until = 0

    def grow(self, attempt: AttemptId, ready: int) -> None:
        """So much of the log is on our disk."""
        self._windows.setdefault(attempt, Window()).grow(ready)

    def keep(self, attempt: AttemptId, upto: int, now: int) -> None:
        """So much of it is on the dispatcher's disk."""
        if window := self._windows.get(attempt):
            window.keep(upto, now, REPEAT_MS)

    def resume(self, attempt: AttemptId, at: int, now: int) -> None:
        """The dispatcher says where to go on."""
        if window := self._windows.get(attempt):
            window.resume(at, now)

    def restart(self, now: int) -> None:
        """A new connection: what was on its way in the old one may be lost."""
        for window in self._windows.values():
            window.resume(window.kept, now)

    def forget(self, attempt: AttemptId) -> None:
        """Nobody wants the rest of it."""
        self._windows.pop(attempt, None)

    def pump(self, now: int) -> int | None:
        """Send what may be sent now; return when to try again at the latest, None when news will tell.

        Logs take turns, so that a flood in one does not hold up a line in another.
        """
        late_at = [window.moved_at + LATE_MS for window in self._windows.values() if window.waits]
        for window in self._windows.values():
            window.repeat_if_late(now, LATE_MS)
        if now < self._full_until:
            return self._full_until
        for _ in range(PIECES_MAX):
            attempt = next((one for one, window in self._windows.items() if window.may_send), None)
            if attempt is None:
                return min(late_at, default=None)
            if not self._send_piece(attempt, now):
                self._full_until = now + FULL_MS
                return self._full_until
        return now

    def _send_piece(self, attempt: AttemptId, now: int) -> bool:
        window = self._windows[attempt]
        try:
            chunk = self._read(attempt, window.sent, window.may_send) or _damaged(window, None)
        except DamagedError as damage:
            chunk = _damaged(window, damage.upto)
        if not self._send(attempt, chunk):
            return False
        window.advance(len(chunk.data), now)
        self._windows[attempt] = self._windows.pop(attempt)  # To the end of the queue.
        return True


def _damaged(window: Window, upto: int | None) -> Chunk:
    """What stands in the place of bytes that our disk has lost: as many, so that the log keeps its length."""
    text = b"\n[surveil: this part of the log was damaged on the runner's disk]\n"
    # A mark that is cut short says nothing: it takes its room from sound bytes behind it, if need be.
    count = window.may_send if upto is None else min(window.may_send, max(upto - window.sent, len(text)))
    return Chunk(at=window.sent, after_ms=0, data=text.ljust(count, b" ")[:count])
