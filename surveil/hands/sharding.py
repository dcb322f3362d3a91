"""Hands out shared lists: from the bulk socket to the store, past the mind, and back as `ShardTell`.

What belongs here: whose questions are answered, lists as they travel, and what is kept in memory. What does not: who
gets what (`core.shards`), and rows (`store.shards`).

A question and its answer are on disk before the answer is said, and a question that comes again gets the same answer;
so neither a lost message nor a dispatcher that starts anew hands anything out twice, or not at all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, Final

from surveil.core import shards
from surveil.core.model import OPEN, VERDICTS, AttemptState, Job
from surveil.core.shards import Asked, Fate
from surveil.core.shared_lists import unpack, wrong_with_packed
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Message, Refused, ShardAsk, ShardTell
from surveil.say import Voice
from surveil.store import BuildDetail, Sharing, Store, StoreError
from surveil.store.shards import known_ms

PENDING_MAX: Final = 64
SUITES_MAX: Final = 32
"""Whose weights are kept in memory; those of others are read again."""

OTHER_LIST: Final = (
    "the shards of this suite do not have the same list: it has to be the same in all of them, so leave out what "
    "depends on the machine"
)

voice = Voice("sharding")


class ShardDesk:
    """Answers in the thread `writer`. `start` starts a task; `on_refused` hears of a runner that asks for what is not
    its own.
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
        self._weights: OrderedDict[tuple[int, str], list[int]] = OrderedDict()

    def take(self, received: list[Received]) -> list[Received]:
        """Answer shards, and return what is left."""
        left = []
        for item in received:
            if not isinstance(item.message, ShardAsk):
                left.append(item)
            elif self._pending < PENDING_MAX:
                self._pending += 1
                self._start(self._answer(item, item.message))
        return left

    async def _answer(self, item: Received, said: ShardAsk) -> None:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._writer, self._told, item, said)
        finally:
            self._pending -= 1
        if isinstance(answer, Refused):
            self._on_refused(item.peer)
        if answer is not None:
            self._reply(item.route, answer)

    # ---- in the thread ----

    def _told(self, item: Received, said: ShardAsk) -> ShardTell | Refused | None:
        build = int(said.job.partition("/")[0])
        try:
            if self._store.reader.owner(said.job, said.attempt) != item.peer.key:
                return Refused(reason=f"attempt {said.attempt} of {said.job} is not this runner's")
            detail = self._store.reader.build(build)
            job = None if detail is None else next((one for one in detail.jobs if one.id == said.job), None)
            if detail is None or job is None or not job.spec.shards:
                return Refused(reason=f"{said.job} is no shard of anything")
            return self._shared(detail, job, said)
        except StoreError as error:
            voice.error("a shard cannot be answered; it asks again", job=said.job, reason=error)
            return None

    def _shared(self, detail: BuildDetail, job: Job, said: ShardAsk) -> ShardTell:
        build, suite = detail.build.id, job.spec.suite
        sharing = self._store.reader.sharing(build, suite)
        if sharing is None:
            if not said.data:
                return _tell(said, wants_list=True)
            if problem := wrong_with_packed(said.digest, said.data):
                return _tell(said, problem=problem)
            self._store.add_shard_list(build, suite, said.digest, said.data)
            sharing = Sharing(digest=said.digest, items=said.data, asked=())
        if sharing.digest != said.digest:
            return _tell(said, problem=OTHER_LIST)
        return self._handed_out(detail, job, said, sharing)

    def _handed_out(self, detail: BuildDetail, job: Job, said: ShardAsk, sharing: Sharing) -> ShardTell:
        asker = (said.job, said.attempt)
        for one in sharing.asked:
            if (one.job, one.attempt, one.seq) == (*asker, said.seq) and not said.final:
                return _tell(said, batch=one.given)
        weights = self._weights_of(detail, job.spec.suite, sharing)
        done = tuple(one for one in said.done if one.item < len(weights))
        now = Asked(job=said.job, attempt=said.attempt, seq=said.seq, done=done, given=())
        fates = _fates(detail)
        left = shards.waiting(len(weights), [*sharing.asked, now], lambda *of: fates.get(of, "gone"), asker)
        if said.final:
            own = shards.undone(sharing.asked, asker)
            others = any(one.spec.suite == job.spec.suite and one.id != job.id and one.state not in VERDICTS
                         for one in detail.jobs)  # fmt: skip
            return _tell(said, left=own if others else max(own, len(left)))
        given = shards.next_batch(left, weights, job.spec.shards)
        self._store.add_shard_ask(Asked(job=said.job, attempt=said.attempt, seq=said.seq, done=done, given=given),
                                  job.spec.suite)  # fmt: skip
        return _tell(said, batch=given)

    def _weights_of(self, detail: BuildDetail, suite: str, sharing: Sharing) -> list[int]:
        key = (detail.build.id, suite)
        if key not in self._weights:
            before = self._store.reader.shared_before(detail.build.repo, suite, detail.build.id)
            known: Mapping[str, int] = {} if before is None else known_ms(unpack(before.items), before)
            self._weights[key] = shards.weights(unpack(sharing.items), known)
            if len(self._weights) > SUITES_MAX:
                self._weights.popitem(last=False)
        return self._weights[key]


def _tell(said: ShardAsk, **more: Any) -> ShardTell:
    return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, **more)


def _fates(detail: BuildDetail) -> dict[tuple[str, int], Fate]:
    verdicts = {AttemptState.PASSED, AttemptState.FAILED}
    return {
        one.id: "open" if one.state in OPEN else "ended" if one.state in verdicts else "gone"
        for one in detail.attempts
    }  # fmt: skip
