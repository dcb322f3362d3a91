"""Colours: which word has which, and whether they are welcome.

What belongs here: the colour of each state. What does not: what a step printed, whose colours are its own
(`terminal`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, TextIO

_FAINT: Final = "90"

CODES: Final[Mapping[str, str]] = {
    "passed": "32",
    "failed": "31",
    "errored": "35",
    "cancelled": "33",
    "skipped": _FAINT,
    "running": "36",
    "queued": "34",
    "blocked": _FAINT,
    "held": "33",
    "lost": "35",
    "online": "32",
    "suspect": "33",
    "offline": "31",
    "draining": "33",
    "cordoned": "33",
    "ok": "32",
    "weak": "33",
    "broken": "31",
    "faint": _FAINT,
    "heading": "1",
}
"""The terminal's code for each state's colour; a word that is not here has none."""
PREFIXES: Final = ("36", "33", "35", "34", "32", "96", "93", "95")
"""The colours by which jobs that print at the same time are told apart."""


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at this stream through a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colourful(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR is set to anything."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, code: str) -> str:
    """The text in the colour of `code`; without one as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
