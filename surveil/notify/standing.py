"""How a build and its jobs stand, as whatever shows it beside a commit wants to know it.

What belongs here: which builds and jobs lines of the journal are about, under which names they are told of, and in
which words. What does not: what a forge is told (`statuses`, `checks`).

A line says only that something happened to a build; what is told is how that stands now. So what comes late, or twice,
says nothing old, and a commit's context ends with what its newest build came to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from surveil.core.model import VERDICTS, Build, Job, Status
from surveil.core.spelling import printable
from surveil.core.states import WRONG
from surveil.frozen import dataclass
from surveil.store import BuildDetail, JournalLine, Reader

CONTEXT_CHARACTERS_MAX: Final = 200
DESCRIPTION_CHARACTERS_MAX: Final = 250
_TAIL: Final = 8

Jobs: TypeAlias = Literal["all", "wrong", "none"]
"""Of which jobs a forge is told: of each that begins, of those that go wrong, of none."""

_WORDS: Final = {
    Status.BLOCKED: "waits for other jobs",
    Status.HELD: "waits for a person",
    Status.QUEUED: "waits for a runner",
    Status.RUNNING: "runs",
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.ERRORED: "errored",
    Status.CANCELLED: "was cancelled",
    Status.SKIPPED: "was skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a build stands, or one of its jobs. Without `news` it is told only to who was told of it before. `place` is
    where its page is, below the address of the pages.
    """

    detail: BuildDetail
    job: Job | None
    context: str
    state: Status
    description: str
    place: str
    at: int
    news: bool = True

    @property
    def build(self) -> Build:
        """The build that it is of."""
        return self.detail.build

    @property
    def tolerated(self) -> bool:
        """Whether it went wrong, and may."""
        return self.job is not None and _is_tolerated(self.job)


def standings(reader: Reader, lines: Sequence[JournalLine], *, prefix: str, jobs: Jobs) -> Iterator[Standing]:
    """How all that these lines are about stands now: for each build its jobs, and then itself. Raises StoreError."""
    notes = [line.note for line in lines if line.note.what in {"build", "job", "attempt"}]
    wanted = {note.build: note.at for note in notes if note.build is not None}
    told_of = {note.id.partition("#")[0] for note in notes if note.what != "build"}
    for detail in reader.details(list(wanted)):
        yield from _standings(detail, wanted[detail.build.id], told_of, prefix=prefix, jobs=jobs)


def _standings(detail: BuildDetail, at: int, told_of: Iterable[str], *, prefix: str, jobs: Jobs) -> Iterator[Standing]:
    build = detail.build
    context = f"{prefix}/{build.event}"
    for job in detail.jobs if jobs != "none" else ():
        # A retry begins with all jobs anew, also those of which nothing else is said before they run.
        if job.id in told_of or build.state not in VERDICTS:
            yield Standing(
                detail=detail, job=job, state=job.counts_as, at=at, place=_log_of(job),
                context=_short(f"{context}/{job.spec.name}"), description=_line(_about_job(job)),
                news=job.id in told_of and _is_news(job, jobs),
            )  # fmt: skip
    words = _about(build.state, build.reason, build.started_at, build.finished_at)
    yield Standing(
        detail=detail, job=None, state=build.state, at=at, place=f"/builds/{build.id}", context=_short(context),
        description=_line(words),
    )  # fmt: skip


def _is_news(job: Job, jobs: Jobs) -> bool:
    if jobs == "wrong":
        return job.counts_as in WRONG
    return job.state == Status.RUNNING or job.state in VERDICTS


def _is_tolerated(job: Job) -> bool:
    return job.state in WRONG and job.spec.continue_on_error


def _log_of(job: Job) -> str:
    """Where its log is: of the attempt that it ended with, or of whichever is the newest as long as it goes on."""
    page = f"/builds/{job.build}/jobs/{quote(job.spec.name, safe='')}"
    return f"{page}/attempts/{job.attempt}" if job.state in VERDICTS and job.attempt else page


def _about_job(job: Job) -> str:
    words = _about(job.state, job.reason, job.started_at, job.finished_at)
    return f"{words} (which it may)" if _is_tolerated(job) else words


def _about(state: Status, reason: str, started_at: int | None, finished_at: int | None) -> str:
    if reason:
        return f"{_WORDS[state]}: {reason}"
    if started_at is None or finished_at is None or state not in VERDICTS:
        return _WORDS[state]
    minutes, seconds = divmod(max(0, finished_at - started_at) // 1000, 60)
    return f"{_WORDS[state]} in {f'{minutes} min ' if minutes else ''}{seconds} s"


def _short(context: str) -> str:
    return _cut(printable(context), CONTEXT_CHARACTERS_MAX)


def _line(text: str) -> str:
    return _cut(printable(" ".join(text.split())), DESCRIPTION_CHARACTERS_MAX)


def _cut(text: str, most: int) -> str:
    """The text, or its beginning and a mark of all of it, so that two that are cut stay two."""
    if len(text) <= most:
        return text
    return f"{text[: most - _TAIL - 1]}…{sha256(text.encode()).hexdigest()[:_TAIL]}"
