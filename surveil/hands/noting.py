"""Writes down who wishes for what, before it is done.

What belongs here: the order of the two, and what is said where the second fails. What does not: which wishes are acts
(`surveil.answer.auditing`), lines (`surveil.store.acts`), and doing what is wished (`fulfil`).

The line is on disk first, so nothing is done that nobody can find out; what then fails gets a line more, which says so.
Where no line can be written, nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from surveil.answer import Reply, Wish
from surveil.answer.auditing import said_of
from surveil.errors import SurveilError
from surveil.frozen import replace
from surveil.protocol import Ask
from surveil.store.acts import Act, Acts

COMMAND: Final = "command"
"""How somebody came of whom nothing else is said: with a key of their own."""


class Noting:
    """Notes what clients wish for. `now` is in milliseconds since 1970."""

    def __init__(self, acts: Acts, now: Callable[[], int]) -> None:
        self._acts = acts
        self._now = now

    async def noted(self, ask: Ask, client: str, wish: Wish, fulfil: Callable[[Wish], Awaitable[Reply]]) -> Reply:
        """Fulfil the wish of the client of this name, and have it stand in the book.

        Raises:
            SurveilError: it cannot be written down, or not be done.
        """
        said = said_of(wish, ask.about)
        if said is None:
            return await fulfil(wish)
        what, subject, detail = said
        act = Act(
            at=self._now(), person=ask.person, client=client, way=ask.way or COMMAND, what=what, subject=subject,
            detail=detail,
        )  # fmt: skip
        await asyncio.to_thread(self._acts.write, act)
        try:
            return await fulfil(wish)
        except SurveilError as error:
            failed = replace(act, at=self._now(), detail=f"was not done: {error}")
            await asyncio.to_thread(self._acts.write, failed)
            raise
