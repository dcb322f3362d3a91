"""The output of one step on its way from a pipe into the spool: bounded, and never cut silently.

What belongs here: the limit, and what we remark on it. What does not: the spool's form (`spool`), and when there is
something to read (`keeper`). Imports only what a keeper may import.

The log holds what the step printed and nothing else; what we have to say stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from surveil.execute.masking import Cover

READ_BYTES: Final = 256 * 1024
PIPE_BYTES: Final = 1024 * 1024
"""What a pipe holds, so that a step that prints in gusts need not wait for us."""
_GIB: Final = 1024 * 1024 * 1024


class StepLog:
    """Takes one step's output from a pipe that does not block, and gives up to `bytes_max` of it to `append`. What is
    to be said about it goes to `remark`, a sentence each. With `cover`, nothing that is secret is given on.
    """

    def __init__(
        self,
        append: Callable[[bytes], None],
        bytes_max: int,
        remark: Callable[[str], None],
        cover: Cover | None = None,
    ) -> None:
        self._append = append
        self._bytes_max = bytes_max
        self._remark = remark
        self._left = bytes_max
        self._dropped = 0
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
        if not data:
            return False
        self._give(data if self._cover is None else self._cover.feed(data))
        return True

    def release(self) -> None:
        """Give on what was held back for long enough."""
        if self._cover is not None:
            self._give(self._cover.release())

    def _give(self, data: bytes) -> None:
        kept = data[: self._left]
        if kept:
            self._append(kept)
            self._left -= len(kept)
        if len(kept) < len(data):
            if not self._dropped:
                self._remark(f"the log of this step is longer than {_size(self._bytes_max)}; its rest is dropped")
            self._dropped += len(data) - len(kept)

    def drain(self, output: int) -> None:
        """Take all that a pipe still holds after its writers have ended."""
        for _ in range(PIPE_BYTES // READ_BYTES + 1):
            self.read(output)

    def close(self) -> None:
        """Give on the rest, and say what was dropped, if anything was."""
        if self._cover is not None:
            self._give(self._cover.end())
        if self._dropped:
            self._remark(f"{self._dropped} bytes of this step's log were dropped")


def _size(count: int) -> str:
    return f"{count // _GIB} GiB" if count >= _GIB and count % _GIB == 0 else f"{count} bytes"
