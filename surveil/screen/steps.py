"""Where the output of each step begins, and what surveil remarks on it: sentences between the pieces of a log.

What belongs here: cutting a log at its steps and remarks. What does not: getting the log, and writing it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

from surveil.screen.words import first_line

_UNTOLD: Final = frozenset({"pending", "running"})
"""States that say no more than that the step's output is here."""

Steps = Sequence[Mapping[str, Any]]


class Remark(str):
    """What surveil itself has to say, between the output of the steps and not part of it."""

    __slots__ = ("at",)

    def __new__(cls, text: str, at: int) -> Self:
        """The sentence `text`, said after byte `at` of the log."""
        made = super().__new__(cls, text)
        made.at = at
        return made

    at: int


class StepHeads:
    """The steps of one attempt, told where the output of each begins; a step alone needs no words, but for remarks.

    What is known of an attempt that runs grows with each piece: a step of which is heard late is told late.
    """

    def __init__(self) -> None:
        self._told = 0
        self._remarked: Counter[int] = Counter()
        """How many remarks were told of each step."""
        self._begun = False

    def split(self, at: int, data: bytes, steps: Steps) -> Iterator[str | bytes]:
        """The piece of the log that begins at byte `at`, cut into headings and remarks (text) and output (bytes)."""
        if not self._begun and at > 0:
            self._skip_to(at, steps)
        self._begun = True
        end, is_news = at + len(data), not data
        for place, step, text in self._marks(steps):
            # A heading waits for the step's first byte, or for news without a byte, which are of the steps alone; a
            # remark stands behind the last byte that it is about.
            if place > end or (place == end and not is_news and not isinstance(text, Remark)):
                break
            before = max(0, place - at)
            if before:
                yield data[:before]
                at, data = place, data[before:]
            yield self._tell(step, text)
        yield data

    def finish(self, steps: Steps) -> Iterator[str]:
        """The headings of steps that printed nothing at the end, and the remarks that were not told."""
        for _, step, text in self._marks(steps):
            yield self._tell(step, text)

    def _marks(self, steps: Steps) -> list[tuple[int, int, str]]:
        """What is still to be told: its place in the log, the number of its step, and the words."""
        marks: list[tuple[int, int, str]] = []
        for number, step in enumerate(steps):
            if len(steps) > 1 and number >= self._told and step["log_at"] is not None:
                marks.append((step["log_at"], number, _head(number, steps)))
            said = step.get("remarks") or ()  # An older dispatcher knows none.
            marks += [(each["at"], number, Remark(each["text"], each["at"])) for each in said[self._remarked[number] :]]
        return sorted(marks, key=lambda mark: (mark[0], mark[1], isinstance(mark[2], Remark)))

    def _tell(self, step: int, text: str) -> str:
        if isinstance(text, Remark):
            self._remarked[step] += 1
        else:
            self._told = step + 1
        return text

    def _skip_to(self, at: int, steps: Steps) -> None:
        """Where only the end of a log is shown, the step that it is of is enough."""
        begun = [number for number, step in enumerate(steps) if step["log_at"] is not None and step["log_at"] <= at]
        self._told = max(begun, default=0)
        for number, step in enumerate(steps):
            self._remarked[number] = sum(each["at"] <= at for each in step.get("remarks") or ())


def _head(number: int, steps: Steps) -> str:
    step = steps[number]
    state = "" if step["state"] in _UNTOLD else f", {step['state']}"
    return f"step {number + 1} of {len(steps)}: {first_line(step['name'])}{state}"
