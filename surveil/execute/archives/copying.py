"""Copying bytes from an archive's file into another.

What belongs here: the quickest way that the system has for it. What does not: which bytes, and whose (`unpacking`).
"""

from __future__ import annotations

import errno
import io
import os
from typing import IO, Final

BLOCK_BYTES: Final = 1024 * 1024
_AT_ONCE_BYTES: Final = 64 * 1024 * 1024
_OTHERWISE: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
"""What a system says that cannot copy so between these two files, or at all."""


def copy(source: IO[bytes], at: int, count: int, out: io.FileIO) -> int:
    """Append bytes `at` and on of `source`, which may be no file of the system, and return how many there were. Where
    `source` stands afterwards is open. Raises OSError.

    The kernel copies from file to file, or lets both have the same blocks; nothing of it goes through this process.
    """
    try:
        from_, left = source.fileno(), count
    except OSError:
        return _through_here(source, at, count, out)
    while left:
        try:
            done = os.copy_file_range(from_, out.fileno(), min(left, _AT_ONCE_BYTES), at)
        except OSError as error:
            if error.errno not in _OTHERWISE:
                raise
            return count - left + _through_here(source, at, left, out)
        if not done:
            # The end, or a file system that says so where it cannot.
            return count - left + _through_here(source, at, left, out)
        at, left = at + done, left - done
    return count


def _through_here(source: IO[bytes], at: int, count: int, out: io.FileIO) -> int:
    source.seek(at)
    left = count
    while left and (data := source.read(min(left, BLOCK_BYTES))):
        rest = memoryview(data)
        while rest:
            rest = rest[out.write(rest) :]
        left -= len(data)
    return count - left
