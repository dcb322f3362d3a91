"""Files with secrets that every user of the machine can read, and a sentence about each.

What belongs here: whether a file is one, and saying so once. What does not: reading files (`calling`, `config`), and
those that are refused because their format always was (`mirror.access`, `net.keys`).

It is a warning, and no refusal as by ssh: the secrets that engines of containers put into a container are readable for
all who are in there, and there is nobody else. Whoever reads a secret asks, so it imports nothing but the system.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

PATHS_MAX: Final = 1000
_logger: Final = logging.getLogger("surveil.openness")


def is_open_to_all(path: Path) -> bool:
    """Whether every user can read a file: it lets them, and so do all folders around it. One that is not there, or that
    we cannot look at, is not.
    """
    try:
        there = path.resolve(strict=True)
        return bool(there.stat().st_mode & stat.S_IROTH) and all(
            folder.stat().st_mode & stat.S_IXOTH for folder in folders_around(there)
        )
    except OSError:
        return False


def warn_if_open(path: Path, what: str) -> None:
    """Say once that a file, which holds `what`, can be read by every user of this machine; if it is so."""
    if is_open_to_all(path):
        _say(os.fspath(path), what)


@lru_cache(maxsize=PATHS_MAX)
def _say(path: str, what: str) -> None:
    shown = shlex.quote(path) if path.isprintable() else repr(path)
    _logger.warning("every user of this machine can read %s in %s: type `chmod o= %s`", what, shown, shown)


def folders_around(path: Path) -> Iterator[Path]:
    """All through which somebody has to go who opens a file."""
    yield from path.parents
