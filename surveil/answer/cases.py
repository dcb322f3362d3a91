"""The answers about tests: what went wrong first, then the slowest, and what is new since the build before.

What belongs here: which attempts count, what they are compared with, and the documents. What does not: reading reports
(`surveil.insight`), and keeping their results (`store`).

Of each job the newest attempt counts that has told all of its results. A failure is new where the same test of the same
job did not fail in the build before: the last one of the ref, of another commit, that has results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from surveil.answer import Reply
from surveil.answer.arguments import Arguments, not_found
from surveil.core.model import AttemptId
from surveil.core.spelling import did_you_mean
from surveil.store import AttemptTally, BuildDetail, Reader, StoredCase

CASES_PAGE: Final = 1_000
PAGE_CHARACTERS_MAX: Final = 150_000
"""A character may take four bytes, and an answer has 1 MiB."""
_CASE_CHARACTERS: Final = 200
_WRONG_MAX: Final = 100_000

_Key: TypeAlias = tuple[str, str, str]
_Read = TypeVar("_Read")


class ReadInThread(Protocol):
    """Reads from the store without holding up the loop."""

    def __call__(self, read: Callable[[], _Read], /) -> Awaitable[_Read]:
        """Do it."""


class CaseAnswers:
    """Answers from the store; `detail` finds a build or raises NotFoundError."""

    def __init__(self, reader: Reader, read: ReadInThread, detail: Callable[[int], Awaitable[BuildDetail]]) -> None:
        self._reader = reader
        self._read = read
        self._detail = detail

    async def tests(self, about: Arguments) -> Reply:
        """A page of the test results of a build, or of one of its jobs."""
        build = about.number("build")
        job = about.text("job", "")
        at = about.number("at", 0)
        about.finish()
        detail = await self._detail(build)
        if job and f"{build}/{job}" not in detail.build.jobs:
            names = [each.spec.name for each in detail.jobs]
            raise not_found("job", f"{build}/{job}", did_you_mean(job, names) or f"`surveil show {build}` lists them.")
        return Reply(body=await self._read(lambda: self._page(build, job, at)))

    def of_jobs(self, build: int) -> dict[str, dict[str, Any]]:
        """By job what its tests came to, for `show`. Called in a thread."""
        counting = _newest(self._reader.tallies([build]))
        if not counting:
            return {}
        before = self._reader.tested_before(build)
        fresh = self._fresh(list(counting), before)
        return {one.job: tally_view(one, fresh[one.job] if before else None) for one in counting.values()}

    def _page(self, build: int, job: str, at: int) -> dict[str, Any]:
        counting = {
            key: one for key, one in _newest(self._reader.tallies([build])).items()
            if job in {"", one.job.partition("/")[2]}
        }  # fmt: skip
        before = self._reader.tested_before(build) if counting else None
        known = self._wrong_of(before)
        found = self._reader.cases(list(counting), at=at, limit=CASES_PAGE) if counting else []
        shown = _fitting(found)
        fresh = self._fresh(list(counting), before) if not at else Counter()
        more = len(shown) < len(found) or len(found) == CASES_PAGE
        return {
            "build": build,
            "before": before,
            "jobs": [tally_view(one, fresh[one.job] if before else None) for one in counting.values()],
            "cases": [case_view(one, None if before is None else known) for one in shown],
            "next": at + len(shown) if more else None,
        }

    def _fresh(self, counting: Sequence[AttemptId], before: int | None) -> Counter[str]:
        """By job how many failures are new."""
        if before is None:
            return Counter()
        known = self._wrong_of(before)
        wrong = self._reader.cases(counting, wrong=True, limit=_WRONG_MAX)
        return Counter(one.job for one in wrong if _key(one) not in known)

    def _wrong_of(self, build: int | None) -> frozenset[_Key]:
        if build is None:
            return frozenset()
        counting = _newest(self._reader.tallies([build]))
        return frozenset(map(_key, self._reader.cases(list(counting), wrong=True, limit=_WRONG_MAX)))


def tally_view(one: AttemptTally, fresh: int | None) -> dict[str, Any]:
    """What the tests of a job came to."""
    tally = one.tally
    return {
        "job": one.job,
        "attempt": one.attempt,
        "total": tally.passed + tally.failed + tally.errored + tally.skipped,
        "passed": tally.passed,
        "failed": tally.failed,
        "errored": tally.errored,
        "skipped": tally.skipped,
        "new": fresh,
        "duration_ms": tally.duration_ms,
        "problems": list(tally.problems),
    }


def case_view(one: StoredCase, known: Collection[_Key] | None) -> dict[str, Any]:
    """One test; `known` are those that went wrong in the build before, where there is one."""
    wrong = one.case.state in {"failed", "errored"}
    return {
        "job": one.job,
        "attempt": one.attempt,
        "suite": one.case.suite,
        "name": one.case.name,
        "state": one.case.state,
        "new": _key(one) not in known if wrong and known is not None else None,
        "duration_ms": one.case.duration_ms,
        "message": one.case.message,
        "output": one.case.output,
    }


def _newest(found: Sequence[AttemptTally]) -> dict[AttemptId, AttemptTally]:
    """Of each job the newest attempt."""
    by_job = {one.job: one for one in found}
    return {(one.job, one.attempt): one for one in by_job.values()}


def _key(one: StoredCase) -> _Key:
    return one.job.partition("/")[2], one.case.suite, one.case.name


def _fitting(found: Sequence[StoredCase]) -> list[StoredCase]:
    """As many from the first on as fit into an answer; never none of them."""
    shown: list[StoredCase] = []
    left = PAGE_CHARACTERS_MAX
    for one in found:
        left -= _CASE_CHARACTERS + sum(map(len, (one.case.suite, one.case.name, one.case.message, one.case.output)))
        if shown and left < 0:
            break
        shown.append(one)
    return shown
