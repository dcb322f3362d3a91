"""Where in a job's output the trouble begins: the lines that a person would look for first.

What belongs here: from bytes to a few short lines of plain text. What does not: reading logs (`surveil.store`), and
test reports (`gathering`).

A guess, by the words that tools use. Where none of them comes, the last lines say most.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from surveil.core.spelling import printable

LINE_CHARACTERS_MAX: Final = 300
"""What a line has beyond this nobody reads in a message."""
_LOOKED_AT: Final = 2_000
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x1b\x07]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_TROUBLE: Final = re.compile(
    r"\b(?:error|fatal|failed|failure|exception|panic(?:ked)?|traceback|segmentation fault|assertionerror"
    r"|command not found|no such file or directory|permission denied|undefined reference|cannot find)\b"
    r"|\b[A-Za-z_.]+(?:Error|Exception)\b|^E   |^FAIL\b|^not ok\b|^---? FAIL",
    re.IGNORECASE,
)
_HINT: Final = re.compile(
    rb"err|fail|exception|fatal|panic|traceback|segmentation|not found|no such|denied|undefined|cannot find|not ok"
    rb"|\bE   ",
    re.IGNORECASE,
)
"""Wherever there is trouble, this is as well."""
_QUIET_LINES: Final = 4
_NO_TROUBLE: Final = re.compile(
    r"\b(?:0|no|without) (?:\w+ )?(?:errors?|failed|failures?|exceptions?)\b", re.IGNORECASE
)


class FirstError:
    """Takes the lines of a log in order, until it has seen enough."""

    def __init__(self, most: int) -> None:
        """Keep `most` lines."""
        self._most = most
        self._last: deque[str] = deque(maxlen=most)
        self._found: list[str] = []

    @property
    def enough(self) -> bool:
        """Whether more lines would change nothing."""
        return len(self._found) >= self._most

    @property
    def found(self) -> bool:
        """Whether any trouble was seen yet."""
        return bool(self._found)

    def feed(self, data: bytes) -> None:
        """The next whole lines."""
        lines = data.split(b"\n")
        if not self._found and _HINT.search(data) is None:
            # Most of a log is like this, and looking at each of its lines takes twenty times as long.
            lines = lines[-_QUIET_LINES * self._most :]
        for raw in lines:
            if self.enough:
                return
            line = plain_line(raw)
            if self._found or is_trouble(line):
                self._found.append(line)
            elif line.strip():
                self._last.append(line)

    def lines(self) -> tuple[str, ...]:
        """The first line of trouble with those after it; else the last lines that are not empty."""
        found = self._found or list(self._last)
        while found and not found[-1].strip():
            found.pop()
        return tuple(found)


def plain_line(raw: bytes) -> str:
    """A line of a log as inert text: what its carriage returns leave of it, without colours, and cut."""
    text = raw[: 4 * _LOOKED_AT].decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
    text = printable(_ESCAPES.sub("", text[:_LOOKED_AT]).expandtabs(4)).rstrip()
    return text if len(text) <= LINE_CHARACTERS_MAX else text[: LINE_CHARACTERS_MAX - 1] + "…"


def is_trouble(line: str) -> bool:
    """Whether a line, as `plain_line` makes it, speaks of trouble."""
    return _TROUBLE.search(_NO_TROUBLE.sub("", line)) is not None
