"""Records as documents and on a terminal: whatever stands in them, they are JSON, and text that does nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Final, TypeVar

from surveil.answer.story import story_view
from surveil.answer.story_words import tell
from surveil.answer.views import build_view, job_view, note_view, runner_view, step_view
from surveil.cli.reading import print_build
from surveil.core.model import Attempt, Build, Job, Note, Runner
from surveil.core.state import Session
from surveil.protocol import StepReport
from surveil.screen.printing import print_line
from surveil.screen.telling import story_lines
from surveil.store import BuildDetail
from tests.fuzz.draw import Draw
from tests.fuzz.records import made

Timed = TypeVar("Timed", Build, Job, Attempt, Note)

AT_MAX: Final = 2_000_000_000_000
"""What a dispatcher's own clock says is taken for true; what a runner counts is not."""


def check(data: bytes) -> None:
    """Make a build as strangers could have made it, and show it in each way."""
    draw = Draw(data)
    detail = _detail(draw)
    jobs = [job_view(job, [attempt for attempt in detail.attempts if attempt.job == job.id]) for job in detail.jobs]
    build = build_view(detail.build, jobs)
    notes = [_timely(made(Note, draw)) for _ in range(draw.byte() % 4)]
    lines = tell(detail, notes, [], job=None, kept=lambda _job, _attempt: 0)
    story = [story_view(line, lines[0].at) for line in lines]
    runner = made(Runner, draw)
    session = Session(incarnation=1, seq=1, heard_at=1) if draw.flag() else None
    documents = [
        build, story, runner_view(replace(runner, seen_at=1), session, 0),
        step_view(made(StepReport, draw), abs(draw.number()) % AT_MAX, abs(draw.number())),
        *(note_view(1, note) for note in notes),
    ]  # fmt: skip
    for document in documents:
        assert json.loads(json.dumps(document)) == document
    shown = io.StringIO()
    with redirect_stdout(shown), redirect_stderr(shown):
        print_build(build)
        for text, state in story_lines(story, several=True):
            print_line(text, state)
    assert all(line.isprintable() for line in shown.getvalue().split("\n")), "something that a terminal would obey"


def seeds() -> Iterator[bytes]:
    """Builds with a little to go on."""
    for start in range(256):
        yield bytes((start + 37 * step) % 256 for step in range(400))


def _detail(draw: Draw) -> BuildDetail:
    jobs, attempts = [], []
    for position in range(1 + draw.byte() % 2):
        job: Job = made(Job, draw)
        name = f"j{position}" if draw.flag() else f"{job.spec.name}{position}"
        spec = replace(job.spec, name=name)
        job = _timely(replace(job, id=f"7/{name}", build=7, position=position, spec=spec))
        for number in range(draw.byte() % 3):
            attempt: Attempt = made(Attempt, draw)
            attempts.append(_timely(replace(attempt, job=job.id, number=number + 1)))
        jobs.append(replace(job, attempt=len(attempts)))
    build = _timely(replace(made(Build, draw), id=7, jobs=tuple(job.id for job in jobs)))
    return BuildDetail(build=build, jobs=tuple(jobs), attempts=tuple(attempts))


def _timely(record: Timed) -> Timed:
    """The same record at times that a clock could show."""
    times = {
        name: min(value, AT_MAX)
        for name in record.__dataclass_fields__
        if name == "at" or name.endswith("_at")
        if (value := getattr(record, name)) is not None
    }
    return replace(record, **times)
