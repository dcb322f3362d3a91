"""What a loss of power would leave: which files and names were put on the platter, and how they were then.

What belongs here: listening to `fsync` and `fdatasync`. What does not: disks that fail (the tests patch those).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest


class Platter:
    """Remembers each file's content and each folder's names as they were when they were last made durable."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self.order: list[str] = []
        """The names of what was made durable, in the order in which it was."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._listening(getattr(os, name)))

    def _listening(self, real: Any) -> Any:
        def sync(handle: int) -> None:
            found = os.fstat(handle)
            path = Path(f"/proc/self/fd/{handle}").readlink()
            if stat.S_ISDIR(found.st_mode):
                self._names[found.st_ino] = {entry.name: entry.inode() for entry in os.scandir(path)}
            else:
                self._contents[found.st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()
            real(handle)
            self.order.append(path.name)

        return sync

    def has_content(self, path: Path) -> bool:
        """Whether the file would be found with all that is in it now, if it is found at all."""
        return self._contents.get(path.stat().st_ino) == path.read_bytes()

    def has_name(self, path: Path) -> bool:
        """Whether the file would be found under its name, and no older one in its place."""
        return self._names.get(path.parent.stat().st_ino, {}).get(path.name) == path.stat().st_ino

    def has(self, path: Path) -> bool:
        """Whether a loss of power now would leave the file as it is."""
        return self.has_content(path) and self.has_name(path)
