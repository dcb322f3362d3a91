"""`${{ ... }}` in texts: where something is filled in, and how large a text may become by it.

What belongs here: finding such places, and putting values there. What does not: what they stand for (`core.filling`,
`core.decisions`, `core.hashes`).

A text that names the same large value again and again would become thousands of times as large as it was written: how
large it will be is known before it is put together, and too large a one never is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

ValueT = TypeVar("ValueT")

REFERENCE: Final = re.compile(r"\$\{\{([^{}]*)\}\}")
"""Where something is filled into a text: `${{ matrix.python }}`."""
TEXT_BYTES_MAX: Final = 256 * 1024
"""UTF-8 bytes of one script or value after substitution."""
JOB_BYTES_MAX: Final = 768 * 1024
"""UTF-8 bytes of all texts of one job; it travels in one message of at most 1 MiB."""


class TooLargeError(ValueError):
    """A text, or the `whole` job, would be larger than one may be."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.kib = (JOB_BYTES_MAX if whole else TEXT_BYTES_MAX) // 1024
        super().__init__(f"{'a job' if whole else 'a text'} has at most {self.kib} KiB")


class Room:
    """What is left of the bytes that the texts of a job may have into which something is filled."""

    def __init__(self) -> None:
        self._left = JOB_BYTES_MAX

    def join(self, pieces: list[str]) -> str:
        """The text of these pieces, of which the same one may be there thousands of times.

        Raises:
            TooLargeError: it would have more than `TEXT_BYTES_MAX`, or all texts so far more than `JOB_BYTES_MAX`.
        """
        # A character has at least one byte.
        if sum(map(len, pieces)) > TEXT_BYTES_MAX:
            raise TooLargeError(whole=False)
        text = "".join(pieces)
        size = len(text.encode())
        self._left -= size
        if size > TEXT_BYTES_MAX or self._left < 0:
            raise TooLargeError(whole=size <= TEXT_BYTES_MAX)
        return text


def pieces_of(text: str, value_of: Callable[[re.Match[str]], ValueT]) -> list[str | ValueT]:
    """The parts of a text, with these values in the place of its references."""
    pieces: list[str | ValueT] = []
    end = 0
    for match in REFERENCE.finditer(text):
        pieces += text[end : match.start()], value_of(match)
        end = match.end()
    return [*pieces, text[end:]]
