"""Answers the question `story`: the whole history of a build, or of one of its jobs, in plain words, in pages that fit
a message.

What belongs here: what is read for it, and pages. What does not: which lines there are and what they say
(`story_words`).
"""

from __future__ import annotations

from typing import Any, Final

from surveil.answer import ReadInThread, Reply
from surveil.answer.arguments import Arguments, no_build
from surveil.answer.story_words import Line, LogBytes, tell
from surveil.answer.views import time_text
from surveil.core.model import VERDICTS, Note
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotFoundError
from surveil.store import ROWS_MAX, BuildDetail, Reader

NOTES_READ_MAX: Final = 20_000
"""Lines of the journal that are read for one story; a job has about ten."""
LINES_MAX: Final = 500
"""Lines in one answer; the asker turns pages with `at`."""
LOGS_MEASURED_MAX: Final = 200
"""For so many attempts it is looked up how much of their logs is there."""


class Stories:
    """Tells stories from the store."""

    def __init__(self, reader: Reader, log_bytes: LogBytes, read: ReadInThread) -> None:
        self._reader = reader
        self._log_bytes = log_bytes
        self._read = read

    async def story(self, about: Arguments) -> Reply:
        """Lines from number `at` on; a `next` that is not None says where the next page begins."""
        number = about.number("build", least=0)
        name = about.text("job", "", most=300)
        at = about.number("at", 0)
        about.finish()
        lines: list[Line] = await self._read(lambda: self._tell(number, name))
        page = lines[at : at + LINES_MAX]
        begun_at = lines[0].at
        more = at + len(page) if at + len(page) < len(lines) else None
        return Reply(body={"lines": [story_view(line, begun_at) for line in page], "next": more})

    def _tell(self, number: int, name: str) -> list[Line]:
        detail = self._reader.build(number)
        if detail is None:
            raise no_build(number)
        names = [job.spec.name for job in detail.jobs]
        if name and name not in names:
            hint = did_you_mean(name, names) or "it has no jobs."
            raise NotFoundError(f"Build {number} has no job {quoted(name)}; {hint}")
        job = f"{number}/{name}" if name else None
        notes, first, last = self._notes(number)
        # What came after its end is of interest up to the last word about it.
        before = last + 1 if detail.build.state in VERDICTS else None
        runners = list({attempt.runner: None for attempt in detail.attempts if job in {None, attempt.job}})
        beside = self._beside(runners, first, before) if first else []
        return tell(detail, notes, beside, job=job, kept=self._measure(detail))

    def _notes(self, build: int) -> tuple[list[Note], int, int]:
        """The build's lines of the journal, with the positions of the first and the last."""
        notes: list[Note] = []
        first = after = 0
        while len(notes) < NOTES_READ_MAX:
            page = self._reader.journal(after=after, limit=ROWS_MAX, build=build)
            if not page:
                break
            first, after = first or page[0].position, page[-1].position
            notes += [line.note for line in page]
        return notes, first, after

    def _beside(self, runners: list[str], after: int, before: int | None) -> list[Note]:
        notes: list[Note] = []
        while len(notes) < NOTES_READ_MAX:
            page = self._reader.journal_beside(runners, after=after, before=before, limit=ROWS_MAX)
            if not page:
                break
            after = page[-1].position
            notes += [line.note for line in page]
        return notes

    def _measure(self, detail: BuildDetail) -> LogBytes:
        """How much there is of each log; of those of a huge build what its runners said must do."""
        said = {attempt.id: attempt.log_bytes for attempt in detail.attempts}
        measured = 0

        def kept(job: str, attempt: int) -> int:
            nonlocal measured
            measured += 1
            return self._log_bytes(job, attempt) if measured <= LOGS_MEASURED_MAX else said[job, attempt]

        return kept


def story_view(line: Line, begun_at: int) -> dict[str, Any]:
    """One line of a story as a document."""
    return {
        "at": time_text(line.at),
        "after_ms": line.at - begun_at,
        "what": line.what,
        "job": line.job,
        "attempt": line.attempt,
        "runner": line.runner,
        "text": line.text,
    }
