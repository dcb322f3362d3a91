"""Questions that wait at the dispatcher for news, on behalf of those who follow something here.

What belongs here: how many there are, of one person and of all, and how often those look who are one too many. What
does not: what is asked (`books`), and how many streams somebody may have (`allowing`).

All who wait for the same are one question. But somebody may follow a thousand different things, and the dispatcher has
room for so many questions of this machine and no more (`surveil.answer.in_work`): what the pages wait for must not keep
others of the machine from waiting, `surveil up` above all, nor one reader all others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from surveil.answer import in_work
from surveil.client import Answered
from surveil.client.asking import Client
from surveil.errors import UnreachableError
from surveil.web import behalf

WAITING_MAX: Final = in_work.WAITING_EACH_MAX // 3
"""Of what may wait there of one machine: there may be several who serve pages, and others beside them."""
WAITING_EACH_MAX: Final = WAITING_MAX // 2
"""So many are one person's at most."""
PATIENCE_MS: Final = 1_000
"""An answer that is overdue by so long is not waited for: whoever follows looks by themselves then."""
AGAIN_S: Final = 1.0
"""How long whoever did not get to wait does not look."""
LOOKS_EACH_S: Final = 100
"""However many those are, so often one of them looks."""


class Waits:
    """The questions that wait, of one event loop."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._pausing = 0

    async def ask(self, client: Client, what: str, about: Mapping[str, Any]) -> Answered:
        """Ask for news, and wait for it.

        Raises:
            UnreachableError: so many wait already, or the dispatcher is away.
            SurveilError: the dispatcher's own sentence.
        """
        asker = behalf.present()
        person = "" if asker is None else asker.person
        if self._waiting.total() >= WAITING_MAX or self._waiting[person] >= WAITING_EACH_MAX:
            raise UnreachableError("So many wait for news already; ask again in a while.")
        self._waiting[person] += 1
        try:
            return await client.ask(what, about, patience_ms=PATIENCE_MS)
        finally:
            self._waiting[person] -= 1
            if not self._waiting[person]:
                del self._waiting[person]

    async def pause(self) -> None:
        """Wait before looking: the longer, the more there are who look."""
        self._pausing += 1
        try:
            await asyncio.sleep(max(AGAIN_S, self._pausing / LOOKS_EACH_S))
        finally:
            self._pausing -= 1
