"""What `db check` and `db backup` do: on this machine's data folder directly, or through a dispatcher elsewhere.

What belongs here: choosing between the two. What does not: looking and copying (`surveil.store`), and printing
(`upkeep`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from surveil.cli.connecting import connected
from surveil.cli.settings import client_settings, load_flags
from surveil.config import DispatcherConfig
from surveil.store.backup import backup
from surveil.store.checking import Report, check

_READ_THERE: Final = (
    "`surveil db check` reads the data folder itself and asks no server: type it on the dispatcher's machine, without "
    "--server and --token."
)
BACKUP_MS_MAX: Final = 3_600_000
"""How long a dispatcher elsewhere may copy: a terabyte of logs on a slow disk is not our business, an hour is enough.
"""


def back_up(destination: Path, where: Mapping[str, str | None]) -> dict[str, Any]:
    """Copy the data folder to `destination`; returns `path`, `bytes`, and the names of what was `left_out`.

    Raises:
        InvalidError: the destination is taken, or there is no database in the folder.
        StoreError: something cannot be read or written.
    """
    asked = client_settings(where)
    if asked.dispatcher is not None or asked.server is not None:
        with connected(where) as dispatcher:
            about = {"destination": str(destination.absolute())}
            document: dict[str, Any] = dispatcher.ask("db_backup", about, patience_ms=BACKUP_MS_MAX).body
            return document
    settings = _settings(where)
    now = time.time_ns() // 1_000_000
    copied = backup(settings.data, destination.absolute(), now=now, database=settings.database or "")
    return {"path": str(destination.absolute()), "bytes": copied.size_bytes, "left_out": list(copied.left_out)}


def find_problems(where: Mapping[str, str | None]) -> tuple[Path, Report]:
    """Look at the data folder of this machine; returns it and what was found. Raises InvalidError and StoreError."""
    settings = _settings(where)
    return settings.data, check(settings.data, database=settings.database or "")


def _settings(where: Mapping[str, str | None]) -> DispatcherConfig:
    return load_flags(DispatcherConfig, {key: where.get(key) for key in ("data", "config")}, _READ_THERE).value
