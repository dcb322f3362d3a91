"""What runners say on the bulk connection and want answered past the mind: one kind of message, one desk.

What belongs here: the way to the thread of the store's writer and back, and backpressure. What does not: what the
answers are (`cases`, `sharding`), and sockets (net).

What cannot be taken now is dropped without a word: runners say it again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ClassVar, Generic, TypeVar

from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Cases, Message, Refused, ShardAsk
from surveil.store import Store

SaidT = TypeVar("SaidT", Cases, ShardAsk)


class Desk(ABC, Generic[SaidT]):
    """Answers in the thread `writer`, between the batches of the mind. `start` starts a task; `on_refused` hears of a
    runner that says or asks for what is not its own.
    """

    kind: ClassVar[type[Any]]
    pending_max: ClassVar[int]
    """Messages of up to 1 MiB that wait for the thread."""

    def __init__(
        self,
        store: Store,
        writer: Executor,
        *,
        reply: Callable[[Route, Message], bool],
        start: Callable[[Coroutine[Any, Any, None]], object],
        on_refused: Callable[[Sender], object],
    ) -> None:
        self._store = store
        self._writer = writer
        self._reply = reply
        self._start = start
        self._on_refused = on_refused
        self._pending = 0

    @abstractmethod
    def answer(self, runner: str, said: SaidT) -> Message | None:
        """What a runner, known by its key, is told, in the thread; None where it has to say it again."""

    def take(self, received: list[Received]) -> list[Received]:
        """Answer what is for this desk, and return what is left."""
        left = []
        for item in received:
            if not isinstance(item.message, self.kind):
                left.append(item)
            elif self._pending < self.pending_max:
                self._pending += 1
                self._start(self._tell(item))
        return left

    async def _tell(self, item: Received) -> None:
        try:
            said: Any = item.message
            answer = await asyncio.get_running_loop().run_in_executor(self._writer, self.answer, item.peer.key, said)
        finally:
            self._pending -= 1
        if isinstance(answer, Refused):
            self._on_refused(item.peer)
        if answer is not None:
            self._reply(item.route, answer)

    def _not_its_own(self, runner: str, said: SaidT) -> Refused | None:
        """What a runner is told that speaks of an attempt of another one. Raises StoreError."""
        if self._store.reader.owner(said.job, said.attempt) == runner:
            return None
        return Refused(reason=f"attempt {said.attempt} of {said.job} is not this runner's")
