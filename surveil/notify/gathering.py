"""Reads from the store and the logs what there is to say about a build or a runner.

What belongs here: the questions, each with a limit. What does not: what they come to in words (`wording`), and who is
told (`channels`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from surveil.answer.cases import fresh_failures
from surveil.core.leases import took_its_leave
from surveil.core.model import Attempt, AttemptState, Build, Job, Note
from surveil.core.states import WRONG
from surveil.core.turns import Ended, News, Turn, turn_of
from surveil.frozen import dataclass
from surveil.insight.first_error import FirstError
from surveil.notify.summary import BuildSummary, Commit, LostAttempt, NewFailure, RunnerSummary, WrongJob, inert
from surveil.screen.words import first_line
from surveil.store import BuildDetail, JournalLine, Reader
from surveil.store.logs import LogStore

OTHERS_MAX: Final = 200
"""A build is compared with so many of the newest of its ref."""
COMMITS_MAX: Final = 10
JOBS_MAX: Final = 5
TESTS_MAX: Final = 10
LINES_MAX: Final = 10
"""Of the log of a job that went wrong."""
LOOKED_AT_BYTES: Final = 2 * 1024 * 1024
"""So much of the output of the step that failed is looked at for the first error, and then the end of it."""
PIECE_BYTES: Final = 256 * 1024
BESIDE_LINES: Final = 200
"""What a runner had at work when it was lost is looked for in so many lines of the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Every method may be called by any thread, and raises `StoreError` where the disk does not do its part."""

    reader: Reader
    logs: LogStore
    public_url: str = ""
    """Links begin with it, and without one there are none."""

    def turn(self, build: Build) -> Turn | None:
        """What a finished build means for its ref."""
        if build.finished_at is None:
            return None
        others = [
            Ended(id=each.id, state=each.state, finished_at=each.finished_at)
            for each in self.reader.outlines(build.repo, ref=build.ref, limit=OTHERS_MAX)
            if each.finished_at is not None
        ]
        if not any(each.id < build.id for each in others):
            # It is long ago, and all of those came after it.
            older = self.reader.builds(repo=build.repo, ref=build.ref, before=build.id, limit=COMMITS_MAX)
            others += [
                Ended(id=each.id, state=each.state, finished_at=each.finished_at)
                for each in older if each.finished_at is not None
            ]  # fmt: skip
        return turn_of(Ended(id=build.id, state=build.state, finished_at=build.finished_at), others)

    def about_build(self, number: int, news: News | None = None) -> BuildSummary | None:
        """All about a finished build; None where it is not there, or means nothing. With `news` as if it meant that."""
        detail = self.reader.build(number)
        if detail is None or (finished_at := detail.build.finished_at) is None:
            return None
        turn = self.turn(detail.build)
        if turn is None and news is not None:
            turn = Turn(news=news, after=None, broken_by=None)
        if turn is None:
            return None
        build, broken_by = detail.build, None
        if turn.broken_by not in {None, build.id}:
            broken_by = next((_commit(each.build) for each in self.reader.details([turn.broken_by or 0])), None)
        wrong = [job for job in detail.jobs if job.counts_as in WRONG]
        fresh = fresh_failures(self.reader, detail) if build.state in WRONG else []
        tests = [
            NewFailure(
                job=one.job.partition("/")[2], suite=inert(one.case.suite), name=inert(one.case.name),
                message=inert(one.case.message),
            )
            for one in fresh[:TESTS_MAX]
        ]  # fmt: skip
        return BuildSummary(
            news=turn.news if news is None else news, build=build.id, repo=inert(build.repo), ref=inert(build.ref),
            event=build.event, commit=_commit(build), state=build.state.value, reason=inert(build.reason),
            url=self._url(f"/builds/{build.id}"), finished_at=finished_at,
            duration_ms=None if build.started_at is None else max(0, finished_at - build.started_at),
            after=turn.after, broken_by=broken_by, commits=self._commits(build, turn.after),
            jobs=tuple(self._wrong_job(job, detail) for job in wrong[:JOBS_MAX]), jobs_count=len(wrong),
            tests=tuple(tests), tests_count=len(fresh),
        )  # fmt: skip

    def about_runner(self, position: int) -> RunnerSummary | None:
        """The runner of the journal's line at this position; None where that says nothing of one that was lost."""
        lines = self.reader.journal(after=position - 1, limit=1)
        if not lines or lines[0].position != position or not is_lost(lines[0].note):
            return None
        note = lines[0].note
        known = {runner.id: runner for runner in self.reader.runners()}
        around = self.reader.journal(after=max(0, position - BESIDE_LINES), limit=2 * BESIDE_LINES)
        named = known[note.id].name if note.id in known else note.id
        return RunnerSummary(
            runner=inert(named), reason=inert(note.reason), at=note.at, url=self._url("/runners"),
            attempts=self._lost_with(note, around),
        )  # fmt: skip

    def about_attempt(self, position: int) -> RunnerSummary | None:
        """The runner of the attempt that was lost, as the journal's line at this position says."""
        lines = self.reader.journal(after=position - 1, limit=1)
        if not lines or lines[0].position != position or lines[0].note.what != "attempt":
            return None
        note = lines[0].note
        found = [
            (detail, attempt) for detail in self.reader.details([note.build or 0]) for attempt in detail.attempts
            if f"{attempt.job}#{attempt.number}" == note.id
        ]  # fmt: skip
        if not found:
            return None
        [(detail, attempt)] = found
        return RunnerSummary(
            runner=inert(attempt.runner_name), reason=inert(note.reason), at=note.at, url=self._url("/runners"),
            attempts=(self._lost(attempt, detail),),
        )  # fmt: skip

    def _lost_with(self, note: Note, lines: Iterable[JournalLine]) -> tuple[LostAttempt, ...]:
        """What was lost at the same instant with the same runner."""
        lost = {
            each.note.id for each in lines
            if each.note.what == "attempt" and each.note.state == "lost" and each.note.at == note.at
        }  # fmt: skip
        builds = sorted({int(each.partition("/")[0]) for each in lost})
        return tuple(
            self._lost(attempt, detail)
            for detail in self.reader.details(builds) for attempt in detail.attempts
            if attempt.runner == note.id and f"{attempt.job}#{attempt.number}" in lost
        )[:JOBS_MAX]  # fmt: skip

    def _lost(self, attempt: Attempt, detail: BuildDetail) -> LostAttempt:
        job = next(each for each in detail.jobs if each.id == attempt.job)
        return LostAttempt(
            build=detail.build.id, repo=inert(detail.build.repo), ref=inert(detail.build.ref), job=job.spec.name,
            attempt=attempt.number, reason=inert(attempt.reason), state=job.state.value,
            url=self._log_url(job, attempt.number),
        )  # fmt: skip

    def _commits(self, build: Build, after: int | None) -> tuple[Commit, ...]:
        """What was built since the build before it that says anything, newest first."""
        if after is None:
            return (_commit(build),)
        before = self.reader.builds(repo=build.repo, ref=build.ref, before=build.id, limit=COMMITS_MAX)
        found = {each.sha: _commit(each) for each in (build, *before) if each.id > after}
        return tuple(found.values())[:COMMITS_MAX]

    def _wrong_job(self, job: Job, detail: BuildDetail) -> WrongJob:
        attempts = [attempt for attempt in detail.attempts if attempt.job == job.id and attempt.number == job.attempt]
        if not attempts:
            return WrongJob(
                name=job.spec.name, state=job.state.value, reason=inert(job.reason), runner="",
                url=self._url(f"/builds/{job.build}"), lines=(),
            )  # fmt: skip
        [attempt] = attempts
        return WrongJob(
            name=job.spec.name, state=job.state.value, reason=inert(job.reason or attempt.reason),
            runner=inert(attempt.runner_name), url=self._log_url(job, attempt.number),
            lines=self._first_errors(attempt),
        )  # fmt: skip

    def _first_errors(self, attempt: Attempt) -> tuple[str, ...]:
        """The lines of its log with which the trouble begins: in the first step that failed, or in all of it."""
        failed = next((step for step in attempt.steps if step.state in WRONG), None)
        at = (failed.log_at or 0) if failed is not None else 0
        first, rest, until = FirstError(LINES_MAX), b"", at + LOOKED_AT_BYTES
        while at < until and not first.enough:
            piece = self.logs.read(attempt.job, attempt.number, at, PIECE_BYTES).data
            at += len(piece)
            if not piece:
                first.feed(rest)
                return first.lines()
            lines, end, rest = (rest + piece).rpartition(b"\n")
            if end:
                first.feed(lines)
            rest = rest[:PIECE_BYTES]
        if not first.found:
            tail = self.logs.tail(attempt.job, attempt.number, lines=LINES_MAX, limit=PIECE_BYTES)
            first.feed(tail.data)
        return first.lines()

    def _log_url(self, job: Job, attempt: int) -> str:
        return self._url(f"/builds/{job.build}/jobs/{quote(job.spec.name)}/attempts/{attempt}")

    def _url(self, path: str) -> str:
        return f"{self.public_url.rstrip('/')}{path}" if self.public_url else ""


def is_lost(note: Note) -> bool:
    """Whether a line of the journal says that a runner went without a word, or that it took an attempt with it."""
    if note.what == "attempt":
        return note.state == AttemptState.LOST
    return note.what == "runner" and note.state == "offline" and not took_its_leave(note.reason)


def _commit(build: Build) -> Commit:
    return Commit(
        sha=build.sha, author=inert(build.author), subject=inert(first_line(build.message)), build=build.id
    )  # fmt: skip
