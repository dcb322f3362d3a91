"""The way of test results to the disk: from the bulk socket to the store, past the mind, and back as `CasesKept`.

What belongs here: whose results they are, how many, and backpressure. What does not: rows (`store.cases`), and sockets
(net).

Nothing is acknowledged before it is durable. What cannot be taken now is dropped without a word: runners say it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final

from surveil.core.model import AttemptId
from surveil.insight.gathering import KEPT_MAX, WRONG_KEPT_MAX
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Cases, CasesKept, Message, Refused
from surveil.say import Voice
from surveil.store import Store, StoreError

PENDING_MAX: Final = 32
"""Messages of up to 1 MiB that wait for the disk."""
RESULTS_MAX: Final = KEPT_MAX + WRONG_KEPT_MAX

voice = Voice("testing")


class CaseIntake:
    """Writes results in the thread `writer`, between the batches of the mind. `start` starts a task; `on_refused` hears
    of a runner that says what is not its own.
    """

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

    def take(self, received: list[Received]) -> list[Received]:
        """Have test results written, and return what is left."""
        left = []
        for item in received:
            if not isinstance(item.message, Cases):
                left.append(item)
            elif self._pending < PENDING_MAX:
                self._pending += 1
                self._start(self._keep(item, item.message))
        return left

    async def _keep(self, item: Received, said: Cases) -> None:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._writer, self._write, item, said)
        finally:
            self._pending -= 1
        if isinstance(answer, Refused):
            self._on_refused(item.peer)
        if answer is not None:
            self._reply(item.route, answer)

    def _write(self, item: Received, said: Cases) -> CasesKept | Refused | None:
        attempt: AttemptId = (said.job, said.attempt)
        upto = said.at + len(said.cases)
        try:
            if self._store.reader.owner(*attempt) != item.peer.key:
                return Refused(reason=f"attempt {said.attempt} of {said.job} is not this runner's")
            if upto > RESULTS_MAX:
                return Refused(reason=f"an attempt may have {RESULTS_MAX} test results, and this one says {upto}")
            self._store.add_cases(attempt, said.at, said.cases, said.tally)
        except StoreError as error:
            voice.error("test results cannot be written; they wait with their runner", reason=error)
            return None
        return CasesKept(job=said.job, attempt=said.attempt, upto=upto, whole=said.tally is not None)
