"""Fetches a blob from the dispatcher into a file, a window of pieces at a time.

What belongs here: which piece is asked for when. What does not: saying and hearing (`courier`), and what the blob is
for (`caching`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import IO, Final

from surveil.execute import courier as transfers
from surveil.execute.courier import Courier, CourierError, Line
from surveil.frozen import replace
from surveil.protocol import CHUNK_BYTES_MAX, Fetch, Piece

WINDOW: Final = 16
"""So many pieces are asked for at once; together they are what a transfer in the other direction has on its way."""


def fetch(courier: Courier, first: Fetch, size: int, file: IO[bytes], check: Callable[[], None]) -> None:
    """Fetch `size` bytes of the blob that `first` names. Blocks; `check` is called often, and may raise.

    Raises:
        CourierError: the dispatcher does not give them.
        OSError: the file does not take them.
    """
    with Line(courier, Piece, check) as line:
        due = dict[int, float]()
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
            if heard.problem:
                raise CourierError(heard.problem)
            if heard.at not in due or len(heard.data) != min(CHUNK_BYTES_MAX, size - heard.at):
                continue
            os.pwrite(file.fileno(), heard.data, heard.at)
            del due[heard.at]
            left -= len(heard.data)
