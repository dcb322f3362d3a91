"""What there is to say to people about a build, or about a runner that was lost: records, and their documents.

What belongs here: the records. What does not: reading them from the store (`gathering`), and putting them into words
(`wording`).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from surveil.answer.views import time_text
from surveil.core.spelling import printable
from surveil.core.turns import News
from surveil.frozen import dataclass

TEXT_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit that was built, by whom it is, and in which build."""

    sha: str
    author: str
    subject: str
    build: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongJob:
    """A job that went wrong. `lines` are those of its log with which the trouble begins."""

    name: str
    state: str
    reason: str
    runner: str
    url: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFailure:
    """A test that went wrong and had not in the build before."""

    job: str
    suite: str
    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """A finished build. `after` is the one that it is compared with, `broken_by` the commit with which it began where
    that is another one. Of `commits`, newest first, `jobs` and `tests` the first are here; the counts are of all.
    """

    news: News
    build: int
    repo: str
    ref: str
    event: str
    commit: Commit
    state: str
    reason: str
    url: str
    finished_at: int
    duration_ms: int | None
    after: int | None
    broken_by: Commit | None
    commits: tuple[Commit, ...]
    jobs: tuple[WrongJob, ...]
    jobs_count: int
    tests: tuple[NewFailure, ...]
    tests_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAttempt:
    """An attempt that went with its runner, and how its job stands now."""

    build: int
    repo: str
    ref: str
    job: str
    attempt: int
    reason: str
    state: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSummary:
    """A runner that was lost, and what it had at work."""

    runner: str
    reason: str
    at: int
    url: str
    attempts: tuple[LostAttempt, ...]
    news: News = News.RUNNER_LOST


Summary: TypeAlias = BuildSummary | RunnerSummary


def inert(text: str) -> str:
    """A stranger's text in one inert line of bounded length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= TEXT_CHARACTERS_MAX else line[: TEXT_CHARACTERS_MAX - 1] + "…"


def document_of(summary: Summary) -> dict[str, Any]:
    """A summary for programs."""
    if isinstance(summary, RunnerSummary):
        return {
            "event": summary.news.value,
            "runner": summary.runner,
            "reason": summary.reason,
            "at": time_text(summary.at),
            "url": summary.url or None,
            "attempts": [_fields(each) for each in summary.attempts],
        }
    return {
        "event": summary.news.value,
        "build": summary.build,
        "repo": summary.repo,
        "ref": summary.ref,
        "asked_by": summary.event,
        "commit": _fields(summary.commit),
        "state": summary.state,
        "reason": summary.reason,
        "url": summary.url or None,
        "finished_at": time_text(summary.finished_at),
        "duration_ms": summary.duration_ms,
        "after": summary.after,
        "broken_by": None if summary.broken_by is None else _fields(summary.broken_by),
        "commits": [_fields(each) for each in summary.commits],
        "jobs": [_fields(each) for each in summary.jobs],
        "jobs_count": summary.jobs_count,
        "tests": [_fields(each) for each in summary.tests],
        "tests_count": summary.tests_count,
    }


def _fields(record: Commit | WrongJob | NewFailure | LostAttempt) -> dict[str, Any]:
    found = {name: getattr(record, name) for name in type(record).__slots__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
