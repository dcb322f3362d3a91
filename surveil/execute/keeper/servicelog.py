"""The output of a service on its way from a pipe into files beside the spool: bounded, its last words above all.

What belongs here: these files, and what is remarked on them. What does not: the spool, into which they go when all has
ended (`logs.spool`), and when there is something to read (`services`). Imports only what a keeper may import.

Two files of half the limit take turns, as the end of a server's log tells more than its beginning. A disk that takes no
more ends the log and not the attempt, whose own log says so where it matters.
"""

# ruff: noqa: PTH105, PTH108, PTH118, PTH123  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from surveil.execute.keeper.intake import READ_BYTES, Intake
from surveil.execute.keeper.masking import Cover

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of one service."""
WORDS_BYTES: Final = 2_000
WORDS_LINES: Final = 3
WORDS_CHARACTERS: Final = 300
_OLD: Final = ".old"


class ServiceLog:
    """Keeps about the last `bytes_max` of what a service says in files that begin with `path`. With `cover`, nothing
    that is secret reaches them.
    """

    def __init__(self, path: str, cover: Cover | None = None, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self.intake = Intake(self._give, cover)
        self._half = bytes_max // 2
        self._file: int | None = None
        self._file_bytes = self._old_bytes = 0
        self._dropped = 0
        self._trouble = ""
        self._tail = b""

    def close(self) -> None:
        """Nothing more will come."""
        self.intake.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def put(self, append: Callable[[bytes], None]) -> None:
        """Give on all that was kept, and remove the files. Raises OSError."""
        put_files(self._path, append)

    def remarks(self) -> list[str]:
        """What is to be said of it."""
        dropped = f"the first {self._dropped} bytes of this service's log were dropped"
        refused = f"the rest of this service's log was not kept: {self._trouble}"
        return [*([dropped] if self._dropped else []), *([refused] if self._trouble else [])]

    def last_words(self) -> str:
        """Its last lines, as one."""
        return last_lines(self._tail, WORDS_LINES)

    def _give(self, data: bytes) -> None:
        if not data:
            return
        self._tail = (self._tail + data)[-WORDS_BYTES:]
        if self._trouble:
            return
        try:
            self._write(data)
        except OSError as error:
            self._trouble = error.strerror or str(error)

    def _write(self, data: bytes) -> None:
        if self._file is not None and self._file_bytes >= self._half:
            os.close(self._file)
            self._file = None
            os.replace(self._path, self._path + _OLD)
            self._dropped += self._old_bytes
            self._old_bytes, self._file_bytes = self._file_bytes, 0
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        rest = memoryview(data)
        while rest:
            written = os.write(self._file, rest)
            self._file_bytes += written
            rest = rest[written:]


def path_of(folder: str, number: int) -> str:
    """How the files of a service begin, counted from 0, of the attempt in this folder."""
    return os.path.join(folder, f"service.{number}")


def put_files(path: str, append: Callable[[bytes], None]) -> None:
    """Give on all that files hold that begin with `path`, and remove them. Raises OSError."""
    for each in (path + _OLD, path):
        with contextlib.suppress(FileNotFoundError), open(each, "rb") as file:
            while data := file.read(READ_BYTES):
                append(data)
            os.unlink(each)


def last_lines(said: bytes, count: int) -> str:
    """The last lines of what was said that say something, as one of bounded length."""
    lines = said[-WORDS_BYTES:].decode(errors="replace").splitlines()
    told = [" ".join(line.split()) for line in lines if line.strip()]
    return " / ".join(told[-count:])[-WORDS_CHARACTERS:]
