"""The answers for who runs a past attempt again: what its runner was told, and what a shard was handed in which order.

What belongs here: an attempt as it was ordered, made anew from what is stored. What does not: running it
(`surveil.cli.replay`), and its commit, which is a wish (`surveil.answer.PackWish`).

Of secrets there are names and no values: these never leave the dispatcher but for a runner's memory.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from surveil.answer import PackWish, Question, ReadInThread, Reply
from surveil.answer.arguments import Arguments, not_found
from surveil.answer.looking import looking
from surveil.answer.views import attempt_view
from surveil.core.following import Commit, facts_of
from surveil.core.model import Attempt, Job
from surveil.core.outputs import complete, is_open
from surveil.core.shared_lists import unpack
from surveil.core.spelling import did_you_mean
from surveil.errors import InfrastructureError
from surveil.protocol import HAVE_MAX, JobSpec, Sha, Want, pack_part
from surveil.store import BuildDetail, Reader

BATCHES_BYTES_MAX: Final = 900 * 1024
"""Of the batches of a shard, packed: they have to fit into a message."""
JOB_CHARACTERS_MAX: Final = 300

Detail = Callable[[int], Awaitable[BuildDetail]]


class Replays:
    """Answers from the store; `detail` finds a build or raises NotFoundError."""

    def __init__(self, reader: Reader, read: ReadInThread, detail: Detail) -> None:
        self._reader = reader
        self._read = read
        self._detail = detail

    async def answer(
        self,
        question: Literal[Question.REPLAY, Question.REPLAY_SHARD, Question.REPLAY_PACK],
        about: Arguments,
    ) -> Reply | PackWish:
        """Answer one of the three: an attempt as it was ordered; what an attempt of a shard was handed, batch after
        batch, each a list of names, as packed JSON; a piece of a pack of its commit.
        """
        detail, job, attempt = await self._find(about)
        if question is Question.REPLAY_PACK:
            return self._pack(about, detail)
        about.finish()
        if question is Question.REPLAY_SHARD:
            return Reply(body={}, data=await self._read(lambda: self._batches(detail, job, attempt)))
        return Reply(body=replay_view(detail, job, attempt))

    def _pack(self, about: Arguments, detail: BuildDetail) -> PackWish:
        have = about.names("have")[:HAVE_MAX]
        want = Want(
            id=about.number("transfer"), repo=detail.build.repo, sha=detail.build.sha, have=_shas(have),
            at=about.number("at"),
        )  # fmt: skip
        wait_ms = about.number("wait_ms", 0)
        about.finish()
        return PackWish(want=want, wait_ms=wait_ms)

    async def _find(self, about: Arguments) -> tuple[BuildDetail, Job, Attempt]:
        name, number = about.text("job", most=JOB_CHARACTERS_MAX), about.number("attempt", 0)
        build, _, short = name.partition("/")
        if not (build.isascii() and build.isdigit()):
            raise not_found("job", name, "`surveil builds` lists the builds that there are.")
        detail = await self._detail(int(build[:16]))
        job = next((one for one in detail.jobs if one.id == name), None)
        if job is None:
            names = [one.spec.name for one in detail.jobs]
            raise not_found("job", name, did_you_mean(short, names) or f"`surveil show {build}` lists them.")
        attempts = [one for one in detail.attempts if one.job == name]
        if not attempts:
            raise not_found("attempt", name, f"it was {job.state} before it ran; `surveil story {name}` tells why.")
        found = next((one for one in attempts if one.number == (number or attempts[-1].number)), None)
        if found is None:
            raise not_found("attempt", number, f"the newest of {name} is {attempts[-1].number}.")
        return detail, job, found

    def _batches(self, detail: BuildDetail, job: Job, attempt: Attempt) -> bytes:
        sharing = self._reader.sharing(detail.build.id, job.spec.suite) if job.spec.shards else None
        batches: list[list[str]] = []
        if sharing is not None:
            items = unpack(sharing.items)
            own = sorted(
                (one for one in sharing.asked if (one.job, one.attempt) == attempt.id), key=lambda one: one.seq
            )
            batches = [[items[place] for place in one.given if place < len(items)] for one in own]
        packed = zlib.compress(json.dumps(batches, separators=(",", ":")).encode(), 6)
        if len(packed) > BATCHES_BYTES_MAX:
            raise InfrastructureError(f"What {job.id} was handed is too long to be told: it has {len(packed)} bytes.")
        return packed


def replay_view(detail: BuildDetail, job: Job, attempt: Attempt) -> dict[str, Any]:
    """An attempt as it was ordered: its commit, and the job with what its needs put out."""
    build = detail.build
    return {
        "id": job.id,
        "build": build.id,
        "repo": build.repo,
        "ref": build.ref,
        "sha": build.sha,
        "event": build.event,
        "trusted": build.trusted,
        "attempt": attempt_view(attempt, image=job.spec.image),
        "spec": pack_part(_ordered(detail, job)),
    }


def _ordered(detail: BuildDetail, job: Job) -> JobSpec:
    """The job as its runner got it: all that it needed had ended by then, and has not changed since."""
    if not is_open(job.spec):
        return job.spec
    build = detail.build
    commit = Commit(event=build.event, repo=build.repo, ref=build.ref, sha=build.sha, paths=build.paths)
    return complete(job.spec, facts_of(job.spec, commit, looking(detail)))


def _shas(names: tuple[str, ...]) -> tuple[Sha, ...]:
    """Those that look like names of commits; what else somebody sends helps nobody."""
    digits = frozenset("0123456789abcdef")
    return tuple(name for name in names if len(name) in {40, 64} and digits.issuperset(name))
