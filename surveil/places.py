"""A role's data folder: what the folders and locks in it are called, and that one process at a time uses it.

What belongs here: names that more than one room must know. What does not: the files of one room alone, like the
database's (`store`), and how files are written (`disk`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from surveil.disk import make_folder
from surveil.errors import InfrastructureError

LOCK: Final = "lock"
"""Held by the one role that uses a folder."""
UP_LOCK: Final = "up.lock"
"""Held by the one `up` that uses a folder, which is its dispatcher's too."""

KEYS: Final = "keys"
"""One's own key; a dispatcher has two, one to be known by and one for those who use its folder."""
MIRRORS: Final = "mirrors"
"""Bare copies of repositories. Processes may share these."""

# What only a dispatcher has, beside its database.
LOGS: Final = "logs"
BLOBS: Final = "blobs"
"""What is kept of the work of attempts, by content."""
RULES: Final = "notify.toml"
"""Says who is told what of builds; a person writes it."""
SIGN_IN: Final = "sign-in.toml"
"""Says who signs in elsewhere, and as what; a person writes it."""
RUNNERS: Final = "runners"
"""The data folders of the runners that it starts itself."""

# What `surveil run` has, on whichever machine.
RUN_CACHES: Final = "run-caches"

# What only a runner has.
ATTEMPTS: Final = "attempts"
WORKSPACES: Final = "workspaces"
SPARES: Final = "spares"

# What only an observer has.
REFS: Final = "refs"

_HOLDER_BYTES_MAX: Final = 64


class TakenError(InfrastructureError):
    """Somebody else uses the folder. `pid` is empty if it did not say who it is."""

    def __init__(self, folder: Path, who: str, pid: str) -> None:
        holder = f"{who} (process {pid})" if who and pid else "another process"
        super().__init__(
            f"the data folder {folder} is used by {holder}: stop that first, or choose another folder with --data"
        )
        self.pid = pid


class Hold:
    """Holds a folder for this process until it is released, or the process ends, however that ends."""

    def __init__(self, folder: Path, who: str, *, lock: str = LOCK) -> None:
        """Make the folder if it is not there, and hold it; `who` ("a runner") is what whoever comes second is told.

        Raises:
            TakenError: another process holds it.
            InfrastructureError: it cannot be made or written.
        """
        if "\n" in str(folder):
            raise InfrastructureError(
                f"the data folder {folder} has a line break in its name, which git cannot borrow from: choose another "
                "with --data"
            )
        try:
            make_folder(folder)
            self._handle: int | None = os.open(folder / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InfrastructureError(
                f"the data folder {folder} cannot be used: {error.strerror}; make it writable, or choose another with "
                "--data"
            ) from error
        try:
            _take(self._handle, folder, who)
        except (OSError, InfrastructureError):
            self.release()
            raise

    def release(self) -> None:
        """Let others have it. Twice is fine."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _take(handle: int, folder: Path, who: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, name = os.pread(handle, _HOLDER_BYTES_MAX, 0).decode("ascii", "replace").strip().partition(" ")
        raise TakenError(folder, name, pid) from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {who}\n".encode(), 0)
    except OSError:
        pass  # A full disk does not keep anybody from holding a folder; it only stays unsaid who does.
