"""Hands out shared lists: from the bulk socket to the store, past the mind, and back as `ShardTell`.

What belongs here: lists as they travel, and what is kept in memory. What does not: who gets what (`core.shards`), rows
(`store.shards`), and who is answered when (`desk`).

A question and its answer are on disk before the answer is said, and a question that comes again gets the same answer;
so neither a lost message nor a dispatcher that starts anew hands anything out twice, or not at all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from surveil.core import shards
from surveil.core.model import OPEN, VERDICTS, AttemptState, Job
from surveil.core.shards import Asked, Fate
from surveil.core.shared_lists import unpack, wrong_with_packed
from surveil.hands.desk import Desk
from surveil.hands.durations import lately
from surveil.protocol import Refused, ShardAsk, ShardTell
from surveil.say import Voice
from surveil.store import BuildDetail, Sharing, StoreError

SUITES_MAX: Final = 32
"""Whose weights are kept in memory; those of others are read again."""

ASKS_SPARE: Final = 1_000
"""Whoever is given a test with each answer asks no more often than there are tests, and a little; each question is a
row.
"""

TOO_OFTEN: Final = "it asked far more often than there are tests to share"
OTHER_LIST: Final = (
    "the shards of this suite do not have the same list: it has to be the same in all of them, so leave out what "
    "depends on the machine"
)

voice = Voice("sharding")


class ShardDesk(Desk[ShardAsk]):
    """Hands out."""

    kind = ShardAsk
    pending_max = 64

    def __init__(self, *of: Any, **more: Any) -> None:
        super().__init__(*of, **more)
        self._weights: OrderedDict[tuple[int, str], list[int]] = OrderedDict()

    def answer(self, runner: str, said: ShardAsk) -> ShardTell | Refused | None:
        """What a shard is to do next."""
        build = int(said.job.partition("/")[0])
        try:
            if refused := self._not_its_own(runner, said):
                return refused
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
        if said.seq > len(weights) + ASKS_SPARE:
            return _tell(said, problem=TOO_OFTEN)
        done = shards.its_own(said.done, sharing.asked, asker)
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
            build = detail.build
            known = lately(self._store.reader, build.repo, suite, ref=build.ref, base=build.base, before=build.id)
            self._weights[key] = shards.weights(unpack(sharing.items), known.took_ms)
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
