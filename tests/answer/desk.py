"""A store in memory, logs in memory and the answers over both: what these tests ask."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from surveil.answer import Reply, Wish
from surveil.answer.answers import Answers
from surveil.answer.live import Live
from surveil.core.state import Identity, State
from surveil.protocol import Ask
from tests.store.memory import MemoryStore

Result = TypeVar("Result")
NOW = 1_750_000_000_000


@dataclass(frozen=True, kw_only=True)
class Slice:
    at: int
    data: bytes
    end: int
    gaps: tuple[tuple[int, int], ...] = ()


@dataclass
class MemoryLogs:
    kept: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def size(self, job: str, attempt: int) -> int:
        return len(self.kept.get((job, attempt), b""))

    def read(self, job: str, attempt: int, at: int, limit: int) -> Slice:
        log = self.kept.get((job, attempt), b"")
        return Slice(at=at, data=log[at : at + limit], end=len(log))

    def tail(self, job: str, attempt: int, lines: int) -> int:
        kept = self.kept.get((job, attempt), b"").splitlines(keepends=True)
        return sum(map(len, kept[: max(0, len(kept) - lines)]))


class Desk:
    """Everything behind a dispatcher's answers, without a dispatcher."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.logs = MemoryLogs()
        self.now = NOW
        self.live = Live(
            cluster="c1",
            epoch=3,
            started_at=NOW - 5000,
            state=State(identity=Identity(cluster="c1", epoch=3, bulk_port=1)),
            now=lambda: self.now,
        )

    def ask(self, what: str, **about: Any) -> Any:
        """The reply's body."""
        reply = self.reply(what, **about)
        assert isinstance(reply, Reply)
        return reply.body

    def reply(self, what: str, **about: Any) -> Reply | Wish:
        return asyncio.run(self._within(self.answers().answer(Ask(id=1, what=what, about=about))))

    def answers(self) -> Answers:
        return Answers(self.store.reader, self.logs, self.live)

    async def _within(self, asked: Coroutine[Any, Any, Result]) -> Result:
        async with asyncio.timeout(30):
            return await asked
