"""Whether SQLite would pass over transactions that its write-ahead log still holds: damage, and not a loss of power.

What belongs here: looking at that file before SQLite does. What does not: SQLite's own recovery.

SQLite takes the log's frames up to the first that does not fit its checksum and says nothing of the rest. After a loss
of power that is right: with `synchronous=FULL` only the last transaction can be torn. But where the end of another
transaction lies behind the first frame that does not fit, and something of a next one behind that, both were written
after the first was durable; then the disk changed what it had, and going on would forget what was acknowledged.

The form is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

_HEAD: Final = struct.Struct(">IIIIIIII")
_FRAME: Final = struct.Struct(">IIIIII")
_MAGIC: Final = frozenset({0x377F0682, 0x377F0683})
_WORD_MAX: Final = 0xFFFFFFFF
SUFFIX: Final = "-wal"

Sum: TypeAlias = tuple[int, int]


def is_damaged(database: Path) -> bool:
    """Whether transactions would be forgotten that were durable. To be asked before anybody opens the database.

    Raises:
        OSError: the log cannot be read.
    """
    try:
        handle = os.open(f"{database}{SUFFIX}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _is_damaged(handle)
    finally:
        os.close(handle)


def complaint(database: Path) -> str:
    """What to say of a database whose log is damaged."""
    return (
        f"the database's log {database}{SUFFIX} is damaged on disk, and transactions that were acknowledged would be "
        "forgotten without it"
    )


def _is_damaged(handle: int) -> bool:
    size = os.fstat(handle).st_size
    if size <= _HEAD.size:
        return False
    head = os.pread(handle, _HEAD.size, 0)
    magic, _, page_bytes, _, *salts, first, second = _HEAD.unpack(head)
    order = ">" if magic & 1 else "<"
    # The head is durable before the first frame, so none that matters can lie behind a torn one.
    if magic not in _MAGIC or _sum((0, 0), head[: _HEAD.size - 8], order) != (first, second):
        return True
    reached, fits, ended = (first, second), True, False
    for fields, content in _frames(handle, size, page_bytes):
        if fits:
            reached = _sum(reached, _FRAME.pack(*fields)[:8] + content, order)
            fits = fields[2:4] == tuple(salts) and fields[4:6] == reached
        if not fits and fields[2:4] == tuple(salts):
            if ended:
                return True
            ended = fields[1] != 0
    return False


def _frames(handle: int, size: int, page_bytes: int) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """The head of each frame (page, database size at a transaction's end, two salts, two sums), and its page."""
    frame_bytes = _FRAME.size + page_bytes
    for at in range(_HEAD.size, size - frame_bytes + 1, frame_bytes):
        frame = os.pread(handle, frame_bytes, at)
        if len(frame) == frame_bytes:
            yield _FRAME.unpack_from(frame), frame[_FRAME.size :]


def _sum(begin: Sum, content: bytes, order: str) -> Sum:
    """SQLite's checksum: for each two words, `first += word + second` and `second += next word + first`."""
    first, second = begin
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for one, other in zip(words, words, strict=False):
        first += one + second  # It is cut to a word below: once a turn is enough for both, and quicker.
        second = (second + other + first) & _WORD_MAX
        first &= _WORD_MAX
    return first, second
