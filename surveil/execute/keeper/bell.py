"""The keeper's end of the bell: a named pipe on which it calls the agent, if there is one, to look into its folder.

What belongs here: how often it rings, and that it never waits. What does not: who hears it (`lookout`). Imports only
what a keeper may import.
"""

from __future__ import annotations

import os
from typing import Final

RING_MS: Final = 2
"""Under a flood of output the agent is called no more often than this."""


class Bell:
    """Calls the agent, if there is one, no more often than every `RING_MS`."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._line = name.encode() + b"\n"
        self._file: int | None = None
        self._rung_at = 0
        self.due_at: int | None = None

    def ring(self, now: int) -> None:
        """There is news."""
        if now - self._rung_at >= RING_MS:
            self._rung_at = now
            self.flush()
        elif self.due_at is None:
            self.due_at = self._rung_at + RING_MS

    def ring_if_due(self, now: int) -> None:
        """Ring for what came too soon after the last time."""
        if self.due_at is not None and now >= self.due_at:
            self._rung_at = now
            self.flush()

    def flush(self) -> None:
        """Ring now. Without an agent nobody hears it; the next one looks by itself. A full bell is rung already."""
        self.due_at = None
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._file, self._line)
        except BlockingIOError:
            self.due_at = self._rung_at + 10 * RING_MS
        except OSError:
            if self._file is not None:
                os.close(self._file)
                self._file = None
