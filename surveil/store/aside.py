"""A damaged file is put aside: it gets another name in the same folder, so that the next one can begin and nothing of
it is lost to whoever looks.

What belongs here: giving it that name, and listing what has one. What does not: noticing damage (`beside`), and which
file may be begun anew without a person (its owner: docs/adr/0058).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from surveil.disk import sync_folder
from surveil.say import Voice
from surveil.store import StoreError
from surveil.store.beside import DamagedFileError, alone_in, identity_of
from surveil.store.failures import disk_failures

ASIDE_MAX: Final = 5
"""So many are kept. Whoever leaves that many lying has a disk that nobody should write to, and each may be large."""
Opened = TypeVar("Opened")
_MARK: Final = ".damaged-"
_NAME: Final = re.compile(r".+\.damaged-[1-9][0-9]*")
_BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps of a file belongs to it under its new name as well."""


def or_anew(begin: Callable[[], Opened], voice: Voice, words: str) -> Opened:
    """What `begin` opens or makes, for whoever has to go on: a file that it finds damaged is put aside first, and the
    log of whoever did so tells of it in these words, with where it is now. Raises as `begin` and `put_aside` do.
    """
    try:
        return begin()
    except DamagedFileError as damage:
        name = put_aside(damage)
        # Otherwise another process did so, and tells of it.
        if name is not None:
            voice.error(words, reason=damage, kept=damage.path.with_name(name))
    return begin()


def put_aside(damage: DamagedFileError) -> str | None:
    """Give the file that was found to be damaged another name; returns that, or None where another process was quicker.

    Raises:
        StoreError: there are too many already, or the disk does not do its part.
    """
    path = damage.path
    with disk_failures(f"put {path} aside"), alone_in(path.parent):
        if identity_of(path) != damage.identity:
            return None
        taken = aside_of(path)
        if len(taken) >= ASIDE_MAX:
            raise StoreError(
                f"{path} is damaged, as were {', '.join(taken)} before: look at the health of that disk, and move them "
                "elsewhere"
            ) from damage
        number = max((int(name.rpartition(_MARK)[2]) for name in taken), default=0) + 1
        name = f"{path.name}{_MARK}{number}"
        for suffix in _BESIDE:
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
        # Last: as long as it has its name, whoever comes by finds the damage again and puts it aside.
        path.rename(path.with_name(name))
        sync_folder(path.parent)
    return name


def aside_of(path: Path) -> list[str]:
    """The names under which files of this one's name were put aside, the oldest first."""
    found = (each.name for each in path.parent.glob(f"{path.name}{_MARK}*") if _NAME.fullmatch(each.name))
    return sorted(found, key=lambda name: int(name.rpartition(_MARK)[2]))
