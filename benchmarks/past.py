"""A store with a past: so many builds of several repositories, as they are after years.

What belongs here: writing them, as the dispatcher would, in large batches. What does not: what is measured over them.

Each build has one job with one attempt and two lines of the journal. Of every hundred four failed, in all repositories
but one, which fails once in a hundred thousand builds: that is what is hard to find. The newest builds of another one
have test results, and one build has a thousand jobs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import sha1
from itertools import chain, islice
from pathlib import Path
from typing import Final

from surveil.core.model import Attempt, AttemptState, Build, Job, Note, Status
from surveil.core.state import Changes
from surveil.frozen import replace
from surveil.protocol import Case, JobSpec, StepSpec, Tally
from surveil.store import Store
from surveil.store.sqlite import open_store

REPOS: Final = tuple(f"https://git.example.org/team-{number % 5}/project-{number}.git" for number in range(20))
CALM: Final = REPOS[7]
"""The one of which hardly a build failed."""
TESTED: Final = REPOS[3]
AUTHORS: Final = tuple(f"Person {number} <person-{number}@example.org>" for number in range(60))
BRANCHES: Final = 40
LARGE_JOBS: Final = 1000
BATCH: Final = 5000
TESTS: Final = 300
RUNNER: Final = "r" * 40
MINUTE_MS: Final = 60_000
_STEP: Final = StepSpec(name="Tests", run="make test", env={})


def write_past(data: Path, builds: int) -> int:
    """Write it into a new data folder; returns the number of the build with a thousand jobs, the newest."""
    now = time.time_ns() // 1_000_000
    store = open_store(data, now=now)
    try:
        numbers = iter(range(1, builds))
        while batch := list(islice(numbers, BATCH)):
            made = [_one(number, now - (builds - number) * MINUTE_MS) for number in batch]
            notes = tuple(note for one in made for note in _notes(one[0]))
            store.commit(Changes(new=tuple(chain.from_iterable(made)), changed=(), notes=notes))
        build, jobs, attempts = _large(builds, now - MINUTE_MS)
        store.commit(Changes(new=(build, *jobs, *attempts), changed=(), notes=tuple(_notes(build))))
        _write_tests(store, builds)
    finally:
        store.close()
    return builds


def newest_of(repo: str, builds: int) -> int:
    """The newest build of a repository before the last one."""
    return next(number for number in range(builds - 1, 0, -1) if REPOS[number % len(REPOS)] == repo)


def _one(number: int, at: int) -> tuple[Build, Job, Attempt]:
    repo = REPOS[number % len(REPOS)]
    rare = number % 100_000 < len(REPOS) if repo == CALM else number // len(REPOS) % 25 == 0
    build = _build(number, at, repo, Status.FAILED if rare else Status.PASSED)
    job = _job(build, "test", 0)
    return build, job, _attempt(job)


def _build(number: int, at: int, repo: str, state: Status) -> Build:
    branch = "main" if number % 3 == 0 else f"topic-{number // len(REPOS) % BRANCHES}"
    sha = sha1(str(number).encode(), usedforsecurity=False).hexdigest()
    event = "schedule" if number % 97 == 0 else "pull_request" if number % 10 == 0 else "push"
    return Build(
        id=number, mid=f"push:{repo}:refs/heads/{branch}:{sha}", repo=repo, ref=f"refs/heads/{branch}", sha=sha,
        event=event, base="", trusted=True, paths=None, inputs=None, approved="",
        message=f"Change number {number}\n\nWhich says in a few more words what was changed, and why.",
        author=AUTHORS[number % len(AUTHORS)], pipeline_file=".surveil.yml", rule="", complaints=(), retry_of=None,
        jobs=(), state=state, reason="test failed" if state is Status.FAILED else "", created_at=at, started_at=at,
        finished_at=at + MINUTE_MS + number % 7 * 1000,
    )  # fmt: skip


def _job(build: Build, name: str, position: int) -> Job:
    spec = JobSpec(
        name=name, needs=(), when="success", labels=("linux",), env={}, timeout_ms=60 * MINUTE_MS, retry=0,
        on_runner_loss="retry", steps=(_STEP,), matrix={}, continue_on_error=False, fail_fast=False, priority=0,
        concurrency="", cancel_superseded=False,
    )  # fmt: skip
    return Job(
        id=f"{build.id}/{name}", build=build.id, position=position, repo=build.repo, spec=spec, state=build.state,
        reason="the step `Tests` ended with exit code 1" if build.state is Status.FAILED else "", attempt=1,
        created_at=build.created_at, started_at=build.started_at, finished_at=build.finished_at, outputs=(),
    )  # fmt: skip


def _attempt(job: Job) -> Attempt:
    assert job.started_at is not None, "it has a verdict"
    return Attempt(
        job=job.id, number=1, runner=RUNNER, runner_name="runner", incarnation=1, state=AttemptState(job.state.value),
        reason=job.reason, assigned_at=job.created_at, accepted_at=job.created_at, started_at=job.started_at,
        finished_at=job.finished_at, exit_code=int(job.state is Status.FAILED), log_bytes=0, steps=(),
        isolation="process", released=True,
    )  # fmt: skip


def _notes(build: Build) -> Iterator[Note]:
    for state, at in ((Status.QUEUED, build.created_at), (build.state, build.finished_at or 0)):
        yield Note(at=at, what="build", id=str(build.id), build=build.id, state=state.value, reason=build.reason)


def _large(number: int, at: int) -> tuple[Build, list[Job], list[Attempt]]:
    """A thousand jobs, of which each 50th failed."""
    build = _build(number, at, REPOS[0], Status.FAILED)
    jobs: list[Job] = []
    for position in range(LARGE_JOBS):
        job = _job(build, f"integration-of-component-{position}", position)
        jobs.append(job if position % 50 == 0 else replace(job, state=Status.PASSED, reason=""))
    return build, jobs, [_attempt(job) for job in jobs]


def _write_tests(store: Store, builds: int) -> None:
    """Results of the newest builds of one repository: three of them failed each time."""
    newest = newest_of(TESTED, builds)
    for number in range(newest, max(0, newest - 50 * len(REPOS)), -len(REPOS)):
        cases = [_case(each) for each in range(TESTS)]
        tally = Tally(passed=TESTS - 3, failed=3, errored=0, skipped=0, duration_ms=TESTS * 40)
        store.add_cases((f"{number}/test", 1), 0, cases, tally)


def _case(number: int) -> Case:
    wrong = number < 3  # noqa: PLR2004  # as many as the tally says
    return Case(
        suite="tests.test_prices", name=f"test_price_{number}", state="failed" if wrong else "passed", duration_ms=40,
        message="AssertionError: 12.5 != '12.50 EUR'" if wrong else "", output="E   AssertionError\n" * 20 * wrong,
    )  # fmt: skip
