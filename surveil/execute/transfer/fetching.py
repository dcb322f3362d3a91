"""Fetches a blob from the dispatcher into a file, a window of pieces at a time.

What belongs here: which piece is asked for when. What does not: saying and hearing (`courier`), and what the blob is
for (`collect`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import IO, Final

from surveil.execute.transfer import courier as transfers
from surveil.execute.transfer.courier import Courier, CourierError, Line
from surveil.frozen import replace
from surveil.protocol import CHUNK_BYTES_MAX, Fetch, Piece

WINDOW: Final = 32
"""So many pieces are asked for at once; together they are what a transfer in the other direction has on its way."""


class _Sum:
    """The SHA-256 of a file whose pieces come in any order: each is added when all before it are there. What comes in
    order, as nearly all does, is not read again.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._sum = hashlib.sha256()
        self._upto = 0
        self._ahead: dict[int, int] = {}

    def add(self, at: int, data: bytes) -> None:
        """This piece is in the file."""
        if at != self._upto:
            self._ahead[at] = len(data)
            return
        self._sum.update(data)
        self._upto += len(data)
        while count := self._ahead.pop(self._upto, 0):
            self._sum.update(os.pread(self._handle, count, self._upto))
            self._upto += count

    def hexdigest(self) -> str:
        return self._sum.hexdigest()


def fetch(courier: Courier, first: Fetch, size: int, file: IO[bytes], check: Callable[[], None]) -> str:
    """Fetch `size` bytes of the blob that `first` names, and return their SHA-256. Blocks; `check` is called often, and
    may raise.

    Raises:
        CourierError: the dispatcher does not give them.
        OSError: the file does not take them.
    """
    with Line(courier, Piece, check) as line:
        due, found = dict[int, float](), _Sum(file.fileno())
        next_at, left = 0, size
        while left:
            while next_at < size and len(due) < WINDOW:
                due[next_at] = 0.0
                next_at += CHUNK_BYTES_MAX
            now = time.monotonic()
            for at, ask_at in due.items():
                if ask_at <= now:
                    due[at] = now + transfers.AGAIN_S
                    line.say(replace(first, id=line.number, at=at))
            heard = line.hear(max(0.0, min(due.values()) - now))
            if not isinstance(heard, Piece):
                if heard is not None:  # There is a new connection.
                    due = dict.fromkeys(due, 0.0)
                continue
            if heard.problem and not heard.retry_ms:
                raise CourierError(heard.problem)
            if heard.problem:
                if heard.at in due:
                    due[heard.at] = time.monotonic() + heard.retry_ms / 1000
                continue
            if heard.at not in due or len(heard.data) != min(CHUNK_BYTES_MAX, size - heard.at):
                continue
            os.pwrite(file.fileno(), heard.data, heard.at)
            found.add(heard.at, heard.data)
            del due[heard.at]
            left -= len(heard.data)
    return found.hexdigest()
