"""Who is told, and what waits for them: a document for people and programs, read from the data folder.

What belongs here: the document. What does not: telling (`surveil.notify`), and how it looks (`surveil.cli`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from surveil.answer.views import time_text
from surveil.errors import InvalidError, SurveilError
from surveil.store import Reader
from surveil.store.outbox import FILE, Following, Outbox
from surveil.store.sqlite import FILE as DATABASE
from surveil.store.sqlite import open_reader


def targets_in(data: Path, *, database: str = "") -> list[dict[str, Any]]:
    """Each target of the dispatcher's folder `data`, by name.

    Raises:
        InvalidError: the folder is not a dispatcher's.
        StoreError: it cannot be read.
    """
    if not is_dispatchers(data, database=database):
        raise InvalidError(f"{data} is not the folder of a dispatcher: name that with --data, on its machine.")
    reader = open_reader(data, database=database)
    try:
        return targets_of(reader, data)
    finally:
        reader.close()


def targets_beside(data: Path, cluster: str, *, database: str = "") -> list[dict[str, Any]] | None:
    """The same of the installation with this id; None where the folder is not that of its dispatcher, or cannot be
    read.
    """
    if not is_dispatchers(data, database=database):
        return None
    try:
        reader = open_reader(data, database=database)
    except SurveilError:
        return None
    try:
        return targets_of(reader, data) if reader.cluster().id == cluster else None
    except SurveilError:
        return None
    finally:
        reader.close()


def is_dispatchers(data: Path, *, database: str = "") -> bool:
    """Whether a dispatcher keeps its books in this folder."""
    return bool(database) or (data / DATABASE).exists()


def targets_of(reader: Reader, data: Path) -> list[dict[str, Any]]:
    """The same, by the books that `reader` reads. Raises StoreError."""
    if not (data / FILE).exists():
        return []
    outbox = Outbox(data)
    try:
        newest, waiting = reader.journal_end(), outbox.waiting()
        return [target_view(each, newest, *waiting.get(each.name, (0, None))) for each in outbox.followings()]
    finally:
        outbox.close()


def target_view(following: Following, newest: int, waiting: int, since: int | None) -> dict[str, Any]:
    """A target for which so many things wait, the oldest since then, by a journal that ends at `newest`."""
    return {
        "name": following.name,
        "delivered": following.delivered,
        "delivered_at": time_text(following.delivered_at),
        "waiting": waiting,
        "waiting_since": time_text(since),
        "behind": max(0, newest - following.position),
        "given_up": following.given_up,
        "again_at": time_text(following.not_before_at) if following.failures else None,
        "problem": following.problem or None,
    }
