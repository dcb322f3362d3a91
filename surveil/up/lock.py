"""One `up` for each data folder.

What belongs here: the lock, and the sentence for whoever comes second. What does not: the dispatcher's own lock, which
keeps two dispatchers out of one database however they were started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError

LOCK_NAME: Final = "up.lock"
_PID_BYTES_MAX: Final = 20


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there, for one `up`. The lock ends with its holder, however it ends.

    Raises:
        InfrastructureError: another `up` holds it, or the folder cannot be used.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InfrastructureError(
            f"The data folder {data} cannot be used: {error.strerror}; name another with --data."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, _PID_BYTES_MAX).decode("ascii", "replace").strip()
            raise InfrastructureError(
                f"Another `surveil up` (process {holder or 'unknown'}) runs on {data} already: look at it with "
                "`surveil status`, or start this one on another folder with --data and another --listen."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
