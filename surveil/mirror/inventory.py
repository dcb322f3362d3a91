"""Which repositories have a mirror in a folder, for those who choose where the next commit is tested.

What belongs here: finding them. What does not: mirrors themselves (`mirror`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

ADDRESS_FILE: Final = "surveil-address"
"""The file in a mirror that says of what it is one; its folder's name is a hash."""


def mirrored(root: Path) -> list[str]:
    """The keys of the addresses that have a mirror below `root`, the newest last."""
    found: list[tuple[float, str]] = []
    for file in root.glob(f"*/{ADDRESS_FILE}"):
        with contextlib.suppress(OSError):  # It may be replaced at this moment.
            found.append((file.stat().st_mtime, file.read_bytes().decode("utf-8", "replace")))
    return [key for _, key in sorted(found)]
