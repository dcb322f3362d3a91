"""How many questions are in work at one time, so that whoever asks without end leaves room for others, and for their
own next wish.

What belongs here: counting questions from their coming to their answer. What does not: waiting for news (`parking`),
and the answers.

Readers wait for news as long as they like, each with a question that stays. If these could take all the room that
their asker has, then one reader of many things would keep the pages, whose questions are all of one asker, from
cancelling a build; so some of the room is for what is answered at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from surveil.errors import UnreachableError
from surveil.protocol import Ask

ASKED_MAX: Final = 1000
"""Questions in work at once, waiting ones included; more are refused."""
ASKED_EACH_MAX: Final = ASKED_MAX // 2
"""So many of them are one client's at most, so that others are answered whatever it asks."""
WAITING_MAX: Final = ASKED_MAX * 9 // 10
"""So many of all may wait for news."""
WAITING_EACH_MAX: Final = ASKED_EACH_MAX * 9 // 10
"""And so many of one client's."""


class InWork:
    """The questions in work, by client."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def counted(self, client: str, ask: Ask) -> Iterator[None]:
        """A question of this client is in work until the end of the block.

        Raises:
            UnreachableError: there is no room for it now; whoever asks again in a while may find some.
        """
        _require(self._asked, client, ASKED_MAX, ASKED_EACH_MAX, "")
        counts = [self._asked]
        if ask.about.get("wait_ms"):
            _require(self._waiting, client, WAITING_MAX, WAITING_EACH_MAX, " that wait for news")
            counts.append(self._waiting)
        for each in counts:
            each[client] += 1
        try:
            yield
        finally:
            for each in counts:
                each[client] -= 1
                if not each[client]:
                    del each[client]


def _require(counts: Counter[str], client: str, most: int, most_each: int, kind: str) -> None:
    if counts.total() >= most:
        raise UnreachableError(f"The dispatcher is at work on {most} questions{kind} already; ask again in a while.")
    if counts[client] >= most_each:
        raise UnreachableError(
            f"The dispatcher is at work on {most_each} questions of this machine{kind} already; ask again in a while."
        )
