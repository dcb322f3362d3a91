"""Which test results of a build count.

What belongs here: from attempts and their reports to what a build's tests came to. What does not: the documents that
people get (`cases`), and what is kept (`store`).

Of each job the newest attempt counts that has told all of its results. An attempt at a shard goes on where the one
before stopped, so of shards counts also what passed in earlier attempts. Where an attempt left no report, because its
machine was lost or because its suite writes none, what it told as a shard counts in its place: all of it if the attempt
answers for it, and of any other what passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from surveil.core.model import OPEN, Attempt, AttemptId, AttemptState, Job
from surveil.core.shards import Asked, case_of
from surveil.core.shared_lists import unpack
from surveil.core.states import WRONG
from surveil.frozen import dataclass
from surveil.protocol import Tally
from surveil.store import AttemptTally, BuildDetail, Reader, StoredCase

NOTHING: Final = Tally(passed=0, failed=0, errored=0, skipped=0, duration_ms=0)
_VERDICTS: Final = frozenset({AttemptState.PASSED, AttemptState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What counts: by job its `newest` attempt that has told all, the `earlier` ones that had, and what shards `told`
    of which there is no report, what went wrong first, then the slowest.
    """

    newest: Mapping[str, AttemptTally]
    earlier: Sequence[AttemptTally] = ()
    shards: frozenset[str] = frozenset()
    """The ids of those jobs that are shards."""
    told: Sequence[StoredCase] = ()

    @property
    def of(self) -> list[AttemptId]:
        """The attempts whose reports count."""
        return [(one.job, one.attempt) for one in self.newest.values()]

    @property
    def sound_of(self) -> list[AttemptId]:
        """The attempts of which counts what did not go wrong."""
        return [(one.job, one.attempt) for one in self.earlier if one.job in self.shards]

    def tallies(self) -> list[AttemptTally]:
        """What the tests of each job came to, by name."""
        found = dict(self.newest)
        for case in self.told:
            known = found.get(case.job, AttemptTally(job=case.job, attempt=case.attempt, tally=NOTHING))
            attempt = max(known.attempt, case.attempt)
            found[case.job] = AttemptTally(job=case.job, attempt=attempt, tally=_with_case(known.tally, case))
        for one in self.earlier:
            if one.job in self.shards:
                newest = found[one.job]
                tally = _with_sound(newest.tally, one.tally)
                found[one.job] = AttemptTally(job=one.job, attempt=newest.attempt, tally=tally)
        return [found[job] for job in sorted(found)]


def counting(reader: Reader, detail: BuildDetail, name: str = "") -> Counting:
    """What counts of a build, or of its job of this name. Raises StoreError."""
    jobs = {job.id: job for job in detail.jobs if name in {"", job.spec.name}}
    reported = [one for one in reader.tallies([detail.build.id]) if one.job in jobs]
    newest = {one.job: one for one in reported}
    earlier = [one for one in reported if newest[one.job] is not one]
    shards = {key: job for key, job in jobs.items() if job.spec.shards}
    over = {one.id: one for one in detail.attempts if one.job in shards and one.state not in OPEN}
    silent = {key: one for key, one in over.items() if key not in {(each.job, each.attempt) for each in reported}}
    told = _told(reader, detail.build.id, shards, silent) if silent else []
    told.sort(key=lambda one: (one.case.state not in WRONG, -one.case.duration_ms))
    return Counting(newest=newest, earlier=earlier, shards=frozenset(shards), told=told)


def _told(
    reader: Reader, build: int, shards: Mapping[str, Job], silent: Mapping[AttemptId, Attempt]
) -> list[StoredCase]:
    """What attempts without a report told as shards, each test once."""
    found: list[StoredCase] = []
    for suite in sorted({shards[job].spec.suite for job, _ in silent}):
        sharing = reader.sharing(build, suite)
        if sharing is not None:
            asked = [one for one in sharing.asked if (one.job, one.attempt) in silent]
            found += _told_of(unpack(sharing.items), asked, shards, silent)
    return found


def _told_of(
    items: Sequence[str], asked: Iterable[Asked], shards: Mapping[str, Job], silent: Mapping[AttemptId, Attempt]
) -> Iterable[StoredCase]:
    found: dict[int, StoredCase] = {}
    for one in asked:
        last_word = shards[one.job].attempt == one.attempt and silent[one.job, one.attempt].state in _VERDICTS
        for result in one.done:
            if result.item < len(items) and (last_word or result.state not in WRONG):
                case = case_of(items[result.item], result)
                found[result.item] = StoredCase(job=one.job, attempt=one.attempt, case=case)
    return found.values()


def _with_case(tally: Tally, one: StoredCase) -> Tally:
    counts = {name: getattr(tally, name) for name in ("passed", "failed", "errored", "skipped")}
    counts[one.case.state] += 1
    return Tally(**counts, duration_ms=tally.duration_ms + one.case.duration_ms, problems=tally.problems)


def _with_sound(tally: Tally, earlier: Tally) -> Tally:
    return Tally(
        passed=tally.passed + earlier.passed,
        failed=tally.failed,
        errored=tally.errored,
        skipped=tally.skipped + earlier.skipped,
        duration_ms=tally.duration_ms + earlier.duration_ms,
        problems=(*earlier.problems, *tally.problems),
    )
