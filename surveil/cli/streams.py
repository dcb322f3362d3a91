"""The three streams that a process is started with, which may be closed, full, or read by nobody.

What belongs here: making sure that there are three, that each says its own name when it takes nothing more, and that
what is left in it at the end harms nobody. What does not: what is printed (`surveil.screen`), and the sentences about
it (`failing`).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT: Final = "standard output"
STANDARD_ERROR: Final = "standard error"


def stand_in() -> None:
    """Put nothing in the place of what was closed (`>&-`), before anything is opened.

    A database or a connection would have the closed stream's number otherwise, and whatever somebody prints later, a
    library or a program that was started, would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below this one are there by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _stream(1, STANDARD_OUTPUT, sys.stdout)
    sys.stderr = _stream(2, STANDARD_ERROR, sys.stderr)


def silence(stream: TextIO) -> None:
    """Let go of what this stream did not take: the interpreter would complain of it once more while it ends, and give
    the process another exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()


class _Named(io.FileIO):
    """A stream that says which one it is when it takes nothing more."""

    called = ""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.called
            raise


def _stream(number: int, called: str, before: TextIO | None) -> TextIO:
    """The stream for people and programs, as it was but for its name."""
    raw = _Named(number, "w", closefd=False)
    raw.called = called
    # Where Python was told to keep nothing back, a line is kept until its end.
    by_lines = isinstance(before, io.TextIOWrapper) and (before.line_buffering or before.write_through)
    encoding, errors = (before.encoding, before.errors) if before is not None else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=by_lines)
