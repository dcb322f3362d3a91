"""Files that are whole and last: written beside, put on the platter, then given their name.

What belongs here: what is true of any file. What does not: any file's form, and sentences for people. Every process
uses it, the keeper too, so it imports nothing but the system.
"""

# ruff: noqa: PTH105, PTH108, PTH120  # A keeper does without pathlib, which costs memory and time.

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final, TypeAlias

Name: TypeAlias = str | os.PathLike[str]
_OWNER_ONLY: Final = 0o600
_OWNER_MAY_ENTER: Final = 0o700
_OUT_OF_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DICE_BYTES: Final = 6


def write_whole(path: Name, content: bytes, *, sync: bool = True, replace: bool = True) -> None:
    """Put a file that only its owner may read in the place of the old one, whole or not at all.

    With `sync` it survives the machine's power. Without `replace`, a file that is there stays as it is, also if
    another process makes it at this moment. Raises OSError.
    """
    # Two processes may write the same name, and each is to have a draft of its own.
    draft = f"{os.fspath(path)}.{os.urandom(_DICE_BYTES).hex()}.new"
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        if replace:
            os.replace(draft, path)
        else:
            # A link, unlike a rename, fails when the name is taken: of two processes exactly one decides.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            os.unlink(draft)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    if sync:
        sync_folder(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100


def open_plain(path: Name, flags: int) -> int:
    """Open a file to read it, as the `opener` of `open`: a pipe in its place would keep its reader waiting for ever.

    Raises OSError.
    """
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # What a folder is, `open` says itself.
        os.close(file)
        raise OSError(errno.EINVAL, "Not a file", os.fspath(path))
    return file


def make_folder(folder: Name) -> None:
    """Make a folder that only its owner may enter, and those above it that are missing; each survives the machine's
    power. One that is there stays as it is. Raises OSError.
    """
    missing = []
    path = os.path.abspath(folder)  # noqa: PTH100
    while not os.path.isdir(path):  # noqa: PTH112
        missing.append(path)
        path = os.path.dirname(path)
    for made in reversed(missing):
        with contextlib.suppress(FileExistsError):  # Another process makes the same one; but a file in its place stays.
            os.mkdir(made, _OWNER_MAY_ENTER)  # noqa: PTH102
        # Whoever may write a folder but not read it cannot put its names on the platter; the system does it in time.
        with contextlib.suppress(PermissionError):
            sync_folder(os.path.dirname(made))


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether this, or what caused it, is that a disk takes no more, which passes by itself."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OUT_OF_ROOM:
            return True
        error = error.__cause__
    return False


def sync_folder(folder: Name) -> None:
    """Make the names in a folder durable; a file's own fsync does not. Raises OSError."""
    _sync(folder, os.O_DIRECTORY)


def sync_file(path: Name) -> None:
    """Make a file's content durable, whoever wrote it. Raises OSError."""
    _sync(path, 0)


def _sync(path: Name, kind: int) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | kind)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
