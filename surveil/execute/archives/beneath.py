"""Files below a folder, whatever lies there: every name is resolved in a folder that is held open, and no link is
followed.

What belongs here: walking down from a folder and opening what is there. What does not: which names are wanted
(`finding`, `unpacking`), and deleting (`workspace`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

DEPTH_MAX: Final = 64
"""Folders below folders; no more than so many are held open."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY: Final = 0o600
_FOLDER_MODE: Final = 0o755


class Beneath:
    """The folder `root`, which is trusted, and all below it, which is not; between `with` and its end.

    Whatever is asked for twice in a row in one folder is found at once. Every method raises OSError, also where a name
    on the way is a link or no folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: list[str] = []
        self._open: list[int] = []

    def __enter__(self) -> Self:
        self._open.append(os.open(self._root, _FOLDER))
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop())
        self._names.clear()

    def folder(self, parts: Sequence[str], *, make: bool = False) -> int:
        """A descriptor of the folder at `parts`, good until the next call; with `make` it is made where it is missing.

        Raises:
            OSError: it cannot be entered, or it lies deeper than `DEPTH_MAX`.
        """
        assert len(parts) <= DEPTH_MAX, "whoever asks has looked how deep it is"
        same = 0
        while same < min(len(parts), len(self._names)) and parts[same] == self._names[same]:
            same += 1
        while len(self._names) > same:
            self._names.pop()
            os.close(self._open.pop())
        for name in parts[same:]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, _FOLDER_MODE, dir_fd=self._open[-1])
            self._open.append(os.open(name, _FOLDER, dir_fd=self._open[-1]))
            self._names.append(name)
        return self._open[-1]

    def read(self, parts: Sequence[str]) -> int:
        """A descriptor of what lies at `parts`, to be closed by the caller; one of a pipe does not block."""
        return os.open(parts[-1], _READ, dir_fd=self.folder(parts[:-1]))

    def create(self, parts: Sequence[str], *, replace: bool = False) -> int:
        """A descriptor of a new file at `parts`, to be closed by the caller; with `replace`, a file or link that is
        there goes first.
        """
        folder = self.folder(parts[:-1], make=True)
        if replace:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=folder)
        return os.open(parts[-1], _MAKE, _OWNER_ONLY, dir_fd=folder)

    def link(self, parts: Sequence[str], target: str, *, replace: bool = False) -> None:
        """Make a symbolic link at `parts`, which nobody follows here; with `replace`, a file or link goes first."""
        folder = self.folder(parts[:-1], make=True)
        if replace:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=folder)
        os.symlink(target, parts[-1], dir_fd=folder)

    def target(self, parts: Sequence[str]) -> str:
        """What the link at `parts` names."""
        return os.readlink(parts[-1], dir_fd=self.folder(parts[:-1]))
