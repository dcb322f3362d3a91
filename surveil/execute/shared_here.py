"""Hands out shared lists to shards that run here and now, one after the other, by the same rule as a dispatcher.

What belongs here: what `surveil run` remembers of its shards. What does not: the folder in which they ask (`sharding`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from surveil.core import shards
from surveil.core.model import AttemptId
from surveil.core.shards import Asked
from surveil.core.shared_lists import unpack
from surveil.execute.sharding import Relay
from surveil.execute.workspace import Workspace
from surveil.protocol import JobSpec, ShardAsk, ShardTell

END_S: Final = 5.0


@dataclass(slots=True)
class _Suite:
    """The list of one suite, and what was asked about it."""

    digest: str
    items: list[str]
    asked: list[Asked] = field(default_factory=list)


class SharedHere:
    """All suites of one run of a pipeline."""

    def __init__(self) -> None:
        self._suites: dict[str, _Suite] = {}
        self._attempts = 0

    @contextlib.contextmanager
    def looking_after(self, spec: JobSpec, workspace: Workspace) -> Iterator[None]:
        """Answer a shard while its steps run; of other jobs nothing is done."""
        if not spec.shards:
            yield
            return
        self._attempts += 1
        attempt: AttemptId = (f"1/{spec.name}", self._attempts)
        relay = Relay(attempt, workspace.shards, lambda said: relay.talk.inbox.put(self._told(spec, said)))
        relay.start()
        try:
            yield
        finally:
            relay.over.set()
            relay.join(END_S)

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
