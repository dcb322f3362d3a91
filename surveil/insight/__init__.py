"""What test reports say: the results of single tests, read from what test runners write.

What belongs here: the words that the readers of formats (`junit`, `tap`) share. What does not: any format, where
reports are found (`finding`), and how many results are kept (`gathering`).
"""

from __future__ import annotations

from typing import Final

from surveil.frozen import dataclass

NAME_CHARACTERS_MAX: Final = 500
"""Of a suite's or a case's name; longer ones are parameters that somebody wrote out, and are cut."""
MESSAGE_CHARACTERS_MAX: Final = 1_000
OUTPUT_CHARACTERS_MAX: Final = 8_000
"""What is kept of the text of one failure: a traceback, and the beginning of what the test printed."""
DURATION_MS_MAX: Final = 10**12
"""Thirty years; more is no duration, whatever a report says."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a report, as a clause for people. With `foreign` it is no report of this kind at all."""

    sentence: str
    line: int | None = None
    foreign: bool = False


def first_line(text: str) -> str:
    """The first line that says something, cut to what a message may have."""
    return next(filter(None, map(str.strip, text.splitlines())), "")[:MESSAGE_CHARACTERS_MAX]
