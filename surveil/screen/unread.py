"""Writing to a reader that may never read, so that whoever writes can always stop.

What belongs here: getting bytes into a stream without ever waiting inside the kernel. What does not: how long a reader
is waited for.
"""

from __future__ import annotations

import io
import os
import select
import threading
from typing import Final, TextIO

LOOK_MS: Final = 100
PIECE_BYTES: Final = 4096
"""What a pipe takes without waiting once it takes anything (PIPE_BUF, on Linux)."""


def write_bytes(stream: TextIO, data: bytes, over: threading.Event) -> None:
    """Write all of it, or as much as is read until somebody says that it is `over`. Raises OSError, with the stream's
    name where it has one.
    """
    stream.flush()
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:
        # A stream in memory.
        stream.buffer.write(data)
        return
    waiting = select.poll()
    waiting.register(number, select.POLLOUT)
    rest = memoryview(data)
    while rest and not over.is_set():
        if not waiting.poll(LOOK_MS):
            continue
        try:
            rest = rest[os.write(number, rest[:PIECE_BYTES]) :]
        except OSError as error:
            error.filename = getattr(getattr(getattr(stream, "buffer", None), "raw", None), "called", None)
            raise


def is_read(stream: TextIO, patience_ms: int) -> bool:
    """Whether a line can be written without waiting for longer than this."""
    try:
        waiting = select.poll()
        waiting.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return True
    return bool(waiting.poll(patience_ms))
