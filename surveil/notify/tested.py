"""What a check run says below its title: how the jobs of a build ended, the attempts of a job, and which tests failed.

What belongs here: Markdown and annotations, of bounded length, from the store. What does not: check runs (`checks`).

All that others wrote stands in marks of code: there it is no markup, names nobody and leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from surveil.answer.counting import counting
from surveil.core.model import VERDICTS, Attempt, Job
from surveil.core.spelling import printable
from surveil.core.states import WRONG
from surveil.forge.checks import Annotation
from surveil.frozen import dataclass
from surveil.insight.sources import source_in
from surveil.notify.standing import Standing
from surveil.protocol import Case
from surveil.store import BuildDetail, Reader, StoredCase

JOBS_MAX: Final = 100
ATTEMPTS_MAX: Final = 10
FAILURES_MAX: Final = 20
WORDS_CHARACTERS_MAX: Final = 200
MESSAGE_CHARACTERS_MAX: Final = 1_000
TITLE_CHARACTERS_MAX: Final = 200
_TICKS: Final = re.compile(r"`+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A summary in Markdown, and what is said beside lines of files."""

    summary: str
    annotations: tuple[Annotation, ...] = ()


def about_build(standing: Standing) -> Told:
    """How the jobs of a build stand, those that went wrong first."""
    jobs = sorted(standing.detail.jobs, key=lambda job: (job.counts_as not in WRONG, job.position))
    lines = [f"* {code(job.spec.name)} {job.state.value}{_because(job.reason)}" for job in jobs[:JOBS_MAX]]
    if len(jobs) > JOBS_MAX:
        lines.append(f"* and {len(jobs) - JOBS_MAX} more")
    build = standing.build
    return Told(summary="\n".join([f"Build {build.id}, {build.state.value}{_because(build.reason)}.", "", *lines]))


def about_job(reader: Reader, detail: BuildDetail, job: Job) -> Told:
    """The attempts at a job, and once it has ended, what its tests came to. Raises StoreError."""
    attempts = [each for each in detail.attempts if each.job == job.id][-ATTEMPTS_MAX:]
    lines = [f"Job {code(job.spec.name)} of build {job.build}, {job.state.value}{_because(job.reason)}."]
    lines += ["", *map(_attempt, attempts)] if attempts else []
    if job.state not in VERDICTS:
        return Told(summary="\n".join(lines))
    found = counting(reader, detail, job.spec.name)
    tallies = [one.tally for one in found.tallies()]
    wrong = reader.cases(found.of, wrong=True, limit=FAILURES_MAX) if found.newest else []
    wrong += [one for one in found.told if one.case.state in WRONG][: FAILURES_MAX - len(wrong)]
    if tallies:
        lines += ["", _counted(sum(one.passed for one in tallies), sum(one.failed + one.errored for one in tallies))]
    if wrong:
        lines += ["", *(f"* {code(_name(one.case))}{_because(one.case.message)}" for one in wrong)]
    return Told(summary="\n".join(lines), annotations=tuple(_annotations(wrong)))


def _attempt(attempt: Attempt) -> str:
    state = f"{attempt.state.value}{_because(attempt.reason)}"
    return f"* attempt {attempt.number} on {code(attempt.runner_name)}: {state}"


def _counted(passed: int, wrong: int) -> str:
    return f"{passed + wrong} tests ran: {wrong} failed, {passed} passed."


def _annotations(wrong: list[StoredCase]) -> Iterator[Annotation]:
    for one in wrong:
        source = source_in(one.case.message, one.case.output)
        if source is not None:
            said = (one.case.message.strip() or one.case.output.strip()).expandtabs(4).splitlines()
            message = "\n".join(map(printable, said))
            yield Annotation(
                path=source.path, line=source.line, title=printable(_name(one.case))[:TITLE_CHARACTERS_MAX],
                message=message[:MESSAGE_CHARACTERS_MAX] or one.case.state,
            )  # fmt: skip


def _name(case: Case) -> str:
    return f"{case.suite} {case.name}" if case.suite else case.name


def _because(reason: str) -> str:
    return f": {code(reason)}" if reason.strip() else ""


def code(text: str) -> str:
    """Text of others as code in Markdown, on one line of bounded length, whatever it holds."""
    found = printable(" ".join(text.split()))[:WORDS_CHARACTERS_MAX]
    fence = "`" * (max(map(len, _TICKS.findall(found)), default=0) + 1)
    return f"{fence} {found} {fence}" if len(fence) > 1 else f"{fence}{found}{fence}"
