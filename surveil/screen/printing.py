"""What commands print: tables, one document, facts, lines of a stream.

What belongs here: output that several commands share. What does not: what a job printed (`terminal`), and what any
command wants to say.

Texts of strangers pass through `printable`, so that no commit message can move the cursor.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Final

from surveil.core.spelling import printable
from surveil.screen.colours import CODES, colourful, is_terminal, paint
from surveil.screen.table import GAP, Column, fitted_lines, folded, plain_lines

WIDTH_MIN: Final = 20


def print_json(document: Any) -> None:
    """One document on stdout. Characters beyond ASCII are escaped: whatever they are, they do nothing to a terminal."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_json_line(document: Any) -> None:
    """One line of a stream of documents, at once."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_line(text: str = "", state: str = "") -> None:
    """One line of data for people on stdout, at once, in the colour of `state`."""
    line = printable(text)
    sys.stdout.write((paint(line, CODES.get(state, "")) if colourful(sys.stdout) else line) + "\n")
    sys.stdout.flush()


def tell(text: str, state: str = "") -> None:
    """One line of progress on stderr, in the colour of `state`."""
    # What was printed before has to stand before it, also where both go to the same file.
    sys.stdout.flush()
    line = printable(text)
    sys.stderr.write((paint(line, CODES.get(state, "")) if colourful(sys.stderr) else line) + "\n")
    sys.stderr.flush()


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: fitted to a terminal's width, and whole where nobody looks."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        lines = fitted_lines(columns, clean, screen_width(), _painted if colourful(sys.stdout) else _plain)
    else:
        lines = plain_lines(columns, clean)
    for line in lines:
        sys.stdout.write(f"{line}\n")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values, one a line; what has no value is left out. On a terminal a long value goes on below itself."""
    shown = [(printable(name), printable(value)) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    room = max(WIDTH_MIN, screen_width() - width - len(GAP)) if is_terminal(sys.stdout) else 0
    for name, value in shown:
        first, *more = folded(value, room) if room else [value]
        code = CODES.get(value, "") if colourful(sys.stdout) else ""
        sys.stdout.write(f"{name.ljust(width)}{GAP}{paint(first, code)}\n")
        for line in more:
            sys.stdout.write(" " * (width + len(GAP)) + line + "\n")


def screen_width() -> int:
    """How many cells a line of the terminal has."""
    return max(WIDTH_MIN, shutil.get_terminal_size().columns)


def _painted(column: Column, text: str, padded: str) -> str:
    if text == column.name:
        return paint(padded, CODES["faint"])
    return paint(padded, CODES.get(text, "")) if column.states and padded.strip() else padded


def _plain(_column: Column, _text: str, padded: str) -> str:
    return padded
