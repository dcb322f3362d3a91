"""Symbolic links that may be kept and made: those that lead nowhere but to what lies beside them.

What belongs here: which targets may be. What does not: finding, packing and making links.

A target is relative, and what leads upwards in it stands at its beginning: no more `..` than there are folders between
the link and the root. A link lies in real folders, so these lead where they say; behind them only names follow, of
which one may be a link again, for which the same holds. So however they are put together, none leads out. `a/../b` may,
where `a` is a link; it is refused, as nobody needs it.
"""

from __future__ import annotations

import os
from typing import Final

TARGET_BYTES_MAX: Final = 4_000


def stays_inside(path: str, target: str, *, below: int = 0) -> bool:
    """Whether a link at `path` to this target leads to something below the root, or below the first `below` folders of
    its path.
    """
    parts = target.removesuffix("/").split("/")
    upwards = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    names = parts[upwards:]
    plain = "" not in parts and ".." not in names and "\0" not in target
    return plain and len(os.fsencode(target)) <= TARGET_BYTES_MAX and upwards <= path.count("/") - below
