"""The output of one step on its way from a pipe into the spool: bounded, and never cut silently.

What belongs here: the limit, and what we remark on it. What does not: the spool's form (`logs.spool`), and when there
is something to read (`keeper`). Imports only what a keeper may import.

The log holds what the step printed and nothing else; what we have to say stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from surveil.execute.keeper.intake import Intake
from surveil.execute.keeper.masking import Cover

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
        self.intake = Intake(self._give, cover)

    def _give(self, data: bytes) -> None:
        kept = data[: self._left]
        if kept:
            self._append(kept)
            self._left -= len(kept)
        if len(kept) < len(data):
            if not self._dropped:
                self._remark(f"the log of this step is longer than {_size(self._bytes_max)}; its rest is dropped")
            self._dropped += len(data) - len(kept)

    def close(self) -> None:
        """Give on the rest, and say what was dropped, if anything was."""
        self.intake.close()
        if self._dropped:
            self._remark(f"{self._dropped} bytes of this step's log were dropped")


def _size(count: int) -> str:
    return f"{count // _GIB} GiB" if count >= _GIB and count % _GIB == 0 else f"{count} bytes"
