"""The queue by which a thread hears what the loop's connection brings for it.

What belongs here: what becomes of it when the thread is slow. What does not: what is said (`courier`, `supply`).
"""

from __future__ import annotations

from queue import Empty, Full, Queue
from typing import TypeVar

ItemT = TypeVar("ItemT")


def put_newest(inbox: Queue[ItemT], item: ItemT) -> None:
    """Put it in without waiting; if the thread is slow, the oldest item is lost, and asked for again."""
    while True:
        try:
            inbox.put_nowait(item)
        except Full:
            try:
                inbox.get_nowait()
            except Empty:
                continue
        else:
            return
