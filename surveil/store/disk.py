"""The disk as the store needs it: names made durable, and failures said in a sentence.

What belongs here: what more than one module of the store does with files as such. What does not: any file's form.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surveil.store import StoreError


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a file's own fsync does not.

    Raises:
        OSError: the disk does not do its part.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's content durable, whoever wrote it.

    Raises:
        OSError: the disk does not do its part.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cause_of(error: Exception) -> str:
    """Why the database refused, in one line: SQLAlchemy's own text goes on with the statement and an address."""
    return " ".join(str(error.__cause__ or error).split())


@contextmanager
def disk_failures(doing: str) -> Iterator[None]:
    """Say what could not be done where the disk fails.

    Raises:
        StoreError: instead of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"could not {doing} ({error.strerror or error}): look at the disk's free space, health and permissions"
        ) from error
