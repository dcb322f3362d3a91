"""What a step or a service prints, on its way out of a pipe: taken without waiting, and covered where it is secret.

What belongs here: reading a pipe, and what is held back until it is known to be nothing secret. What does not: what is
kept of it (`steplog`, `servicelog`), and what is secret (`masking`). Imports only what a keeper may import.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from surveil.execute.keeper.masking import Cover

READ_BYTES: Final = 256 * 1024
PIPE_BYTES: Final = 1024 * 1024
"""What a pipe holds, so that a step that prints in gusts need not wait for us."""


class Intake:
    """Takes output from a pipe that does not block, and gives it to `give`; with `cover`, nothing that is secret."""

    def __init__(self, give: Callable[[bytes], None], cover: Cover | None = None) -> None:
        self._give = give
        self._cover = cover

    @property
    def due_at(self) -> int | None:
        """When `release` should be called at the latest, by the clock of the cover."""
        return None if self._cover is None else self._cover.due_at

    def read(self, output: int) -> bool:
        """Take what is there; whether more may come."""
        try:
            data = os.read(output, READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            self._give(data if self._cover is None else self._cover.feed(data))
        return bool(data)

    def drain(self, output: int) -> None:
        """Take all that a pipe still holds after its writers have ended."""
        for _ in range(PIPE_BYTES // READ_BYTES + 1):
            if not self.read(output):
                break

    def release(self) -> None:
        """Give on what was held back for long enough."""
        if self._cover is not None:
            self._give(self._cover.release())

    def close(self) -> None:
        """Nothing more will come: give on the rest."""
        if self._cover is not None:
            self._give(self._cover.end())
