"""Commits on their way into the mind: each is looked up, read once, and told its build when that is on disk.

What belongs here: the order of a ref's commits, the pipelines that are kept as they were read, and who waits for which
build. What does not: what a pipeline means (`surveil.pipeline`), builds (core), who may submit (net, answer).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias

from surveil import pipeline
from surveil.core.events import BuildWanted
from surveil.core.spelling import printable
from surveil.core.triggers import ANY, Schedule, objection
from surveil.core.trust import Trust, trigger_of
from surveil.frozen import replace
from surveil.hands.splitting import decided
from surveil.lanes import Lanes
from surveil.protocol import CommitSeen, JobSpec
from surveil.store import Reader

READING_MAX: Final = 1_000
"""Commits being read at once; observers repeat what is beyond."""

PIPELINES_KEPT: Final = 64
"""So many pipelines are kept as they were read: most commits leave theirs as it was, and share its jobs in memory."""
KEPT_CHARACTERS_MAX: Final = 16 * 1024
"""A longer text is read anew each time: its jobs could be much longer still."""

_BELIEVED: Final = (
    "{ref} is no ref that this dispatcher trusts, and whoever saw the commit read the commit's own pipeline file: "
    "upgrade that observer, or give both the same --trusted-ref"
)

Then: TypeAlias = Callable[[int], None]
Learn: TypeAlias = Callable[[CommitSeen, "tuple[Schedule, ...] | None"], Awaitable[None]]
"""Takes a commit of a main branch with its schedules, None where its pipeline file is broken."""


class Submissions:
    """Commits that were submitted and have no build yet. `start` runs a task; `put` lets a build be made; `trust` has
    the last word on what is trusted, whatever whoever saw a commit says; `learn` takes in what a main branch has
    scheduled, before the commit counts as seen.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        start: Callable[[Coroutine[Any, Any, None]], None],
        put: Callable[[BuildWanted], None],
        trust: Trust,
        learn: Learn,
    ) -> None:
        self._reader = reader
        self._trust = trust
        self._learn = learn
        self._start = start
        self._put = put
        self._waiting: dict[str, list[Then]] = {}
        self._lanes = Lanes()
        self._kept: OrderedDict[tuple[object, ...], pipeline.Loaded] = OrderedDict()

    def submit(self, commit: CommitSeen | BuildWanted, then: Then, by: str = "") -> bool:
        """Have a commit built; `then` is told its build once that is on disk. Repeating it is harmless. `by` says who
        wants it, in words for the journal; a `BuildWanted` says so itself.

        Returns False, and does nothing, when too many wait already.
        """
        waiting = self._waiting.get(commit.mid)
        if waiting is not None:
            waiting.append(then)
        elif len(self._waiting) < READING_MAX:
            self._waiting[commit.mid] = [then]
            # In the order of the ref's commits, so that its newest build is its newest commit.
            self._start(self._lanes.follow((commit.repo, commit.ref), lambda: self._take(commit, by)))
        else:
            return False
        return True

    def report(self, commit: CommitSeen, then: Then, by: str) -> bool:
        """The same for what an observer saw, which is what its ref says, whatever the observer calls it."""
        return self.submit(replace(commit, event=trigger_of(commit.ref)), then, by)

    def acknowledge(self, mid: str, build: int) -> None:
        """The fact `mid` is on disk, as `build`: tell everybody who waits for it."""
        for then in self._waiting.pop(mid, ()):
            then(build)

    async def _take(self, commit: CommitSeen | BuildWanted, by: str) -> None:
        """Find the build that a fact made before, or read its pipeline and let the mind make one."""
        # One look into an index takes less than the way to a thread and back.
        known = self._reader.build_of_mid(commit.mid)
        if known is not None:
            self.acknowledge(commit.mid, known)
        else:
            self._put(commit if isinstance(commit, BuildWanted) else await self._wanted(commit, by))

    async def _wanted(self, commit: CommitSeen, by: str) -> BuildWanted:
        """What a commit's pipeline text asks for: jobs, or complaints for its author."""
        jobs: tuple[JobSpec, ...] = ()
        triggers = ANY
        trusted = commit.trusted and self._trust.trusts(commit.ref)
        complaints: tuple[str, ...] = (commit.problem,)
        if commit.trusted and not trusted and not commit.problem:
            # What came with it is the commit's own file, which strangers may have written.
            complaints = (_BELIEVED.format(ref=printable(commit.ref)),)
        elif commit.pipeline is not None:
            loaded = await self._load(commit, {})
            if isinstance(loaded, pipeline.Pipeline) and loaded.undecided:
                loaded = await self._load(commit, await asyncio.to_thread(decided, self._reader, commit, loaded))
            if isinstance(loaded, pipeline.Invalid):
                complaints = loaded.sentences()
            else:
                jobs, complaints, triggers = loaded.jobs, (), loaded.triggers
        if trusted and commit.event == "push" and commit.ref == commit.base:
            await self._learn(commit, None if complaints else triggers.schedule)
        skipped = objection(triggers, event=commit.event, ref=commit.ref, paths=commit.paths, message=commit.message)
        if skipped:
            jobs, complaints = (), ()
        return BuildWanted(
            mid=commit.mid, repo=commit.repo, ref=commit.ref, sha=commit.sha, event=commit.event,
            base=commit.base, trusted=trusted, paths=commit.paths, inputs=commit.inputs,
            message=commit.message, author=commit.author, pipeline_file=commit.pipeline_file, rule=commit.rule,
            jobs=jobs, complaints=complaints, skipped=skipped, carried={}, by=by,
        )  # fmt: skip

    async def _load(self, commit: CommitSeen, shards: Mapping[str, int]) -> pipeline.Loaded:
        assert commit.pipeline is not None, "there is something to load"
        typed = (commit.inputs or {}) if commit.event == "manual" else None
        text, file, includes = commit.pipeline, commit.pipeline_file, commit.includes
        key = (text, file, includes, None if typed is None else tuple(typed.items()), tuple(shards.items()))
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        loaded = await asyncio.to_thread(pipeline.load, text, file, includes, typed, shards)
        if len(text) + sum(len(included.text or "") for included in includes) <= KEPT_CHARACTERS_MAX:
            self._kept[key] = loaded
            if len(self._kept) > PIPELINES_KEPT:
                self._kept.popitem(last=False)
        return loaded
