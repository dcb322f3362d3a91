"""Where the output of each step begins: headings between the pieces of a log.

What belongs here: cutting a log at its steps. What does not: getting the log, and writing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from surveil.screen.words import first_line

_UNTOLD: Final = frozenset({"pending", "running"})
"""States that say no more than that the step's output is here."""

Steps = Sequence[Mapping[str, Any]]


class StepHeads:
    """The steps of one attempt, told where the output of each begins; a step alone needs no words.

    What is known of an attempt that runs grows with each piece: a step of which is heard late is told late.
    """

    def __init__(self) -> None:
        self._told = 0
        self._begun = False

    def split(self, at: int, data: bytes, steps: Steps) -> Iterator[str | bytes]:
        """The piece of the log that begins at byte `at`, cut into headings (text) and output (bytes)."""
        if not self._begun and at > 0:
            self._skip_to(at, steps)
        self._begun = True
        while len(steps) > 1 and self._told < len(steps):
            begins_at = steps[self._told]["log_at"]
            if begins_at is None or begins_at >= at + len(data):
                break
            before = max(0, begins_at - at)
            if before:
                yield data[:before]
                at, data = begins_at, data[before:]
            yield self._head(steps)
        yield data

    def finish(self, steps: Steps) -> Iterator[str]:
        """The headings of steps that printed nothing at the end."""
        while len(steps) > 1 and self._told < len(steps) and steps[self._told]["log_at"] is not None:
            yield self._head(steps)

    def _head(self, steps: Steps) -> str:
        step = steps[self._told]
        self._told += 1
        state = "" if step["state"] in _UNTOLD else f", {step['state']}"
        return f"step {self._told} of {len(steps)}: {first_line(step['name'])}{state}"

    def _skip_to(self, at: int, steps: Steps) -> None:
        """Where only the end of a log is shown, the step that it is of is enough."""
        begun = [number for number, step in enumerate(steps) if step["log_at"] is not None and step["log_at"] <= at]
        self._told = max(begun, default=0)
