"""The answers about tests: what went wrong first, then the slowest, what is new since the build before, and what is
flaky.

What belongs here: what results are compared with, and the documents. What does not: which of them count (`counting`),
reading reports (`surveil.insight`), and keeping their results (`store`).

A failure is new where the same test of the same job did not fail in the build before: the last one of the ref, of
another commit, that has results. A test is flaky that went wrong in an attempt and passed in a later one at the same
job: nothing but the dice had changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeAlias

from surveil.answer import ReadInThread, Reply
from surveil.answer.arguments import Arguments, not_found
from surveil.answer.counting import Counting, counting
from surveil.core.spelling import did_you_mean
from surveil.core.states import WRONG
from surveil.frozen import replace
from surveil.protocol import suite_of
from surveil.store import ROWS_MAX, AttemptTally, BuildDetail, Reader, StoredCase

CASES_PAGE: Final = 1_000
PAGE_CHARACTERS_MAX: Final = 150_000
"""A character may take four bytes, and an answer has 1 MiB."""
FLAKY_CHARACTERS_MAX: Final = 50_000
"""What more tests are flaky than fit into this have one trouble, and not so many."""
TOLD_AT: Final = 1_000_000_000
"""Results without a report are numbered from here on, behind all that reports can have."""
_CASE_CHARACTERS: Final = 200
_WRONG_MAX: Final = 100_000

_Key: TypeAlias = tuple[str, str, str]


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
        return Reply(body=await self._read(lambda: self._page(detail, job, at)))

    def of_jobs(self, detail: BuildDetail) -> dict[str, dict[str, Any]]:
        """By job what its tests came to, for `show`. Called in a thread."""
        found = counting(self._reader, detail)
        return {one["job"]: one for one in self._summed(found, self._before(detail, found), self._flaky(found))}

    def _page(self, detail: BuildDetail, job: str, at: int) -> dict[str, Any]:
        found = counting(self._reader, detail, job)
        before = self._before(detail, found)
        known = _wrong_of(self._reader, before)
        flaky = [] if at else self._flaky(found)
        shown, following = self._shown(found, at)
        return {
            "build": detail.build.id,
            "before": before,
            "jobs": self._summed(found, before, flaky),
            "flaky": [flaky_view(failed, passed) for failed, passed in flaky],
            "cases": [case_view(one, None if before is None else known) for one in shown],
            "next": following,
        }

    def _shown(self, found: Counting, at: int) -> tuple[list[StoredCase], int | None]:
        """The results from number `at` on that fit into an answer, and the number of the next one."""
        if at < TOLD_AT:
            of, sound_of = found.of, found.sound_of
            read = self._reader.cases(of, sound_of=sound_of, at=at, limit=CASES_PAGE) if of else []
            shown = _fitting(read, PAGE_CHARACTERS_MAX)
            if len(shown) < len(read) or len(read) == CASES_PAGE:
                return shown, at + len(shown)
            if shown:
                return shown, TOLD_AT if found.told else None
            at = TOLD_AT
        rest = found.told[at - TOLD_AT :]
        shown = _fitting(rest[:CASES_PAGE], PAGE_CHARACTERS_MAX)
        return shown, at + len(shown) if len(shown) < len(rest) else None

    def _before(self, detail: BuildDetail, found: Counting) -> int | None:
        """The build to compare with, where there is anything to compare."""
        return self._reader.tested_before(detail.build.id) if found.newest or found.told else None

    def _summed(
        self, found: Counting, before: int | None, flaky: Sequence[tuple[StoredCase, StoredCase]]
    ) -> list[dict[str, Any]]:
        fresh = self._fresh(found, before)
        unsure = Counter(passed.job for _, passed in flaky)
        return [tally_view(one, fresh[one.job] if before else None, unsure[one.job]) for one in found.tallies()]

    def _fresh(self, found: Counting, before: int | None) -> Counter[str]:
        """By job how many failures are new."""
        if before is None:
            return Counter()
        return Counter(one.job for one in _fresh(self._reader, found, before))

    def _flaky(self, found: Counting) -> list[tuple[StoredCase, StoredCase]]:
        """The tests that passed after all, each with how it went wrong last."""
        suspects = [(one.job, one.attempt) for one in found.earlier if one.tally.failed or one.tally.errored]
        if not suspects:
            return []
        wrong = self._reader.cases(suspects, wrong=True, limit=ROWS_MAX)
        failed = {_key(one): replace(one, case=replace(one.case, output="")) for one in wrong}
        names = sorted({one.case.name for one in failed.values()})
        again = self._reader.cases(found.of, named=names, limit=_WRONG_MAX)
        passed = {_key(one): one for one in again if one.case.state == "passed"}
        shown = _fitting([failed[key] for key in failed if key in passed], FLAKY_CHARACTERS_MAX)
        return [(one, passed[_key(one)]) for one in shown]


def fresh_failures(reader: Reader, detail: BuildDetail) -> list[StoredCase]:
    """The tests of a build that went wrong and did not in the build before; all that went wrong where there is none to
    compare with. Raises StoreError.
    """
    found = counting(reader, detail)
    return _fresh(reader, found, reader.tested_before(detail.build.id)) if found.newest or found.told else []


def _fresh(reader: Reader, found: Counting, before: int | None) -> list[StoredCase]:
    known = _wrong_of(reader, before)
    return [one for one in _wrong(reader, found) if _key(one) not in known]


def _wrong_of(reader: Reader, build: int | None) -> frozenset[_Key]:
    detail = None if build is None else reader.build(build)
    return frozenset() if detail is None else frozenset(map(_key, _wrong(reader, counting(reader, detail))))


def _wrong(reader: Reader, found: Counting) -> list[StoredCase]:
    reported = reader.cases(found.of, wrong=True, limit=_WRONG_MAX) if found.newest else []
    return [*reported, *(one for one in found.told if one.case.state in WRONG)]


def tally_view(one: AttemptTally, fresh: int | None, flaky: int) -> dict[str, Any]:
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
        "flaky": flaky,
        "duration_ms": tally.duration_ms,
        "problems": list(tally.problems),
    }


def flaky_view(failed: StoredCase, passed: StoredCase) -> dict[str, Any]:
    """A test that went wrong and then passed."""
    return {
        "job": passed.job,
        "suite": failed.case.suite,
        "name": failed.case.name,
        "failed_attempt": failed.attempt,
        "passed_attempt": passed.attempt,
        "message": failed.case.message,
    }


def case_view(one: StoredCase, known: Collection[_Key] | None) -> dict[str, Any]:
    """One test; `known` are those that went wrong in the build before, where there is one."""
    wrong = one.case.state in WRONG
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


def _key(one: StoredCase) -> _Key:
    return suite_of(one.job.partition("/")[2]), one.case.suite, one.case.name


def _fitting(found: Sequence[StoredCase], characters: int) -> list[StoredCase]:
    """As many from the first on as fit into so many characters; never none of them."""
    shown: list[StoredCase] = []
    left = characters
    for one in found:
        left -= _CASE_CHARACTERS + sum(map(len, (one.case.suite, one.case.name, one.case.message, one.case.output)))
        if shown and left < 0:
            break
        shown.append(one)
    return shown
