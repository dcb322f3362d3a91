"""Hands out shared lists to shards that run here and now: all of it, one shard after the other, by the same rule as a
dispatcher; or to a shard that is run again what it was handed then.

What belongs here: what `surveil run` and `surveil replay` know of shards. What does not: the folder in which they ask
(`sharding`).
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from surveil.core import shards
from surveil.core.model import AttemptId
from surveil.core.shards import Asked
from surveil.core.shared_lists import unpack
from surveil.execute.collect.sharding import Clerk
from surveil.execute.workspace import Workspace
from surveil.protocol import JobSpec, ShardAsk, ShardTell

END_S: Final = 5.0


@dataclass(slots=True)
class _Suite:
    """The list of one suite, and what was asked about it."""

    digest: str
    items: list[str]
    asked: list[Asked] = field(default_factory=list)


class Shared(ABC):
    """Answers shards, one after the other."""

    def __init__(self) -> None:
        self._attempts = 0

    @contextlib.contextmanager
    def looking_after(self, spec: JobSpec, workspace: Workspace) -> Iterator[None]:
        """Answer a shard while its steps run; of other jobs nothing is done."""
        if not spec.shards:
            yield
            return
        self._attempts += 1
        attempt: AttemptId = (f"1/{spec.name}", self._attempts)
        clerk = Clerk(attempt, workspace.shards, lambda said: clerk.talk.inbox.put(self._told(spec, said)))
        clerk.start()
        try:
            yield
        finally:
            clerk.over.set()
            clerk.join(END_S)

    @abstractmethod
    def _told(self, spec: JobSpec, said: ShardAsk) -> ShardTell:
        """The answer to a question."""


class SharedHere(Shared):
    """All suites of one run of a pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self._suites: dict[str, _Suite] = {}

    def _told(self, spec: JobSpec, said: ShardAsk) -> ShardTell:
        suite = self._suites.get(spec.suite)
        if suite is None:
            if not said.data:
                return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, wants_list=True)
            suite = self._suites[spec.suite] = _Suite(said.digest, unpack(said.data))
        if suite.digest != said.digest:
            problem = "the work tree changed while its shards ran: they do not have the same list"
            return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, problem=problem)
        asked = Asked(job=said.job, attempt=said.attempt, seq=said.seq, done=said.done, given=())
        own = (said.job, said.attempt)
        # Here an attempt is over before the next one begins.
        left = shards.waiting(
            len(suite.items), [*suite.asked, asked], lambda *of: "open" if of == own else "ended", own
        )
        given = shards.next_batch(left, shards.weights(suite.items, {}), spec.shards)
        suite.asked.append(Asked(job=said.job, attempt=said.attempt, seq=said.seq, done=said.done, given=given))
        return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, batch=given)


class SharedAgain(Shared):
    """What one shard was handed then, batch after batch.

    Args:
        batches: the names of the items of each batch.
        on_missing: hears of those that the list does not have any more.
    """

    def __init__(self, batches: Sequence[Sequence[str]], on_missing: Callable[[list[str]], None]) -> None:
        super().__init__()
        self._batches = batches
        self._on_missing = on_missing
        self._given: list[tuple[int, ...]] | None = None

    def _told(self, spec: JobSpec, said: ShardAsk) -> ShardTell:  # noqa: ARG002  # whose list it is makes no difference
        if self._given is None:
            if not said.data:
                return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, wants_list=True)
            self._given = self._found(unpack(said.data))
        place = said.seq - 1
        batch = self._given[place] if place < len(self._given) else ()
        return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, batch=batch)

    def _found(self, items: Sequence[str]) -> list[tuple[int, ...]]:
        """The batches as numbers in the list as it is now. None of them is empty: that would be the end."""
        places = {item: place for place, item in enumerate(items)}
        if missing := [item for batch in self._batches for item in batch if item not in places]:
            self._on_missing(missing)
        found = (tuple(places[item] for item in batch if item in places) for batch in self._batches)
        return [batch for batch in found if batch]
