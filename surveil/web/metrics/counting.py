"""What grows: what the journal has said since this process began, and what was asked of it.

What belongs here: adding up. What does not: reading the journal (`surveil.store.happening`), and how sums are shown
(`exposing`).

Sums begin at nothing with the process, as those do who collect them expect: they look at how a sum grows.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surveil.core.model import VERDICTS
from surveil.store import Reader
from surveil.store.happening import Happened
from surveil.web.hooks.forges import FORGES

TOOK_S: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
"""Up to so many seconds from its creation to its verdict a build counts in each of these."""
_BROKEN: Final = 500
NOWHERE: Final = "none"
"""What an address is called that leads nowhere: whoever guesses addresses adds no series."""


@dataclass(slots=True)
class Took:
    """How long builds took that came to the same verdict: how many in each bucket, the last without end, and all in
    all.
    """

    buckets: list[int] = field(default_factory=lambda: [0] * (len(TOOK_S) + 1))
    sum_ms: int = 0

    def add(self, took_ms: int) -> None:
        """One more."""
        self.buckets[bisect_left(TOOK_S, took_ms / 1000)] += 1
        self.sum_ms += took_ms


class JournalSums:
    """What the journal has said since `begin`: lines by what they are about and its state, and how long builds took."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._position: int | None = None
        self._turn = asyncio.Lock()
        self.lines: Counter[tuple[str, str]] = Counter()
        self.took: Mapping[str, Took] = {verdict.value: Took() for verdict in sorted(VERDICTS)}

    async def begin(self) -> None:
        """Count from here on. Raises StoreError."""
        self._position = await asyncio.to_thread(self._reader.journal_end)

    async def read_on(self) -> None:
        """Add what has been written since. Raises StoreError; what was added by then stays."""
        async with self._turn:
            if self._position is None:
                await self.begin()
            while True:
                assert self._position is not None, "it has begun"
                found = await asyncio.to_thread(self._reader.happened, self._position)
                if found.position == self._position:
                    return
                self._add(found)

    def _add(self, found: Happened) -> None:
        self.lines.update(found.lines)
        for verdict, took_ms in found.took:
            self.took[verdict].add(took_ms)
        self._position = found.position


class WebSums:
    """What this process was asked, and who follows something now; counted for all routes in one place."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """By the pattern of the address, and the status."""
        self.webhooks: Counter[tuple[str, int]] = Counter()
        """By forge, and the status."""
        self.open: Counter[str] = Counter()
        """Answers that have begun and not ended, by the pattern of the address: those who follow something."""


class Counted:
    """Counts every request of an application."""

    def __init__(self, app: ASGIApp, sums: WebSums) -> None:
        self._app = app
        self._sums = sums

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun: list[str] = []

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only now it is known which route it was.
                begun.append(self._count(scope, message["status"]))
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            if not begun:
                # It broke, and whoever asked is told so further out.
                begun.append(self._count(scope, _BROKEN))
            self._sums.open[begun[0]] -= 1

    def _count(self, scope: Scope, status: int) -> str:
        pattern = _pattern_of(scope)
        self._sums.answers[pattern, status] += 1
        self._sums.open[pattern] += 1
        if pattern.startswith("/hooks/"):
            forge = str(scope["path_params"].get("forge"))
            self._sums.webhooks[forge if forge in FORGES else NOWHERE, status] += 1
        return pattern


def _pattern_of(scope: Scope) -> str:
    """The pattern of the address that was asked for, which is one of few."""
    return str(getattr(scope.get("route"), "path", NOWHERE))
