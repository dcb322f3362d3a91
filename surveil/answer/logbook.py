"""Answers about logs: pieces of an attempt's bytes, waiting for those that are still to come.

What belongs here: which attempt is meant, when its log is complete, and the long poll. What does not: files and
checksums (`surveil.store.logs`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from surveil.answer import WAIT_MS_MAX, ReadInThread, Reply
from surveil.answer.arguments import Arguments, not_found
from surveil.answer.live import Live
from surveil.answer.log_facts import LogFacts, log_facts
from surveil.answer.parking import Parking
from surveil.answer.views import steps_of
from surveil.core.model import OPEN, VERDICTS, Attempt, AttemptState, Job
from surveil.frozen import dataclass
from surveil.protocol import CHUNK_BYTES_MAX, StepReport
from surveil.store import BuildDetail, Reader
from surveil.store.log_live import LogSlice
from surveil.store.logs import TAIL_LINES_MAX, LogStore

LATE_MS: Final = 60_000
"""How long after an attempt's end the rest of its log is waited for: its runner may have died with it."""


STEP_NAME_CHARACTERS_MAX: Final = 200
"""So much of a step's name travels with each piece of a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A question for a log after its checks. `number` 0 means the newest attempt."""

    job: str
    number: int
    at: int
    limit: int
    tail_lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What there is for a request now."""

    job: Job
    number: int
    attempt: Attempt | None
    part: LogSlice | None

    @property
    def news(self) -> bool:
        return self.part is not None and bool(self.part.data)

    @property
    def steps(self) -> tuple[StepReport, ...]:
        return () if self.attempt is None else steps_of(self.attempt)


class Logbook:
    """Answers the question `log`."""

    def __init__(self, reader: Reader, logs: LogStore, live: Live, parking: Parking, read: ReadInThread) -> None:
        self._reader = reader
        self._logs = logs
        self._live = live
        self._parking = parking
        self._read = read

    def bytes_of(self, job: str, attempt: int, at: int, limit: int) -> LogSlice:
        """Bytes of a log for whoever looks at it here; to be called in a thread."""
        return self._logs.read(job, attempt, at, limit)

    def facts(self, attempt: Attempt) -> LogFacts:
        """What is known of an attempt's log."""
        found = self._logs.read(attempt.job, attempt.number, 0, 0)
        if found.damaged and not found.length:
            return LogFacts(known=attempt.log_bytes, kept=0, whole=False, missing="this log cannot be read any more")
        return self._facts(attempt, found.length)

    def _facts(self, attempt: Attempt, kept: int) -> LogFacts:
        revoked = self._live.is_revoked(attempt.runner)
        return log_facts(attempt, kept, self._live.now(), self._live.log_wait_ms, revoked=revoked)

    async def log(self, about: Arguments) -> Reply:
        """A piece of a log, at once if there is one past `at`; else when it comes, when a step begins or ends, when the
        log is complete, or after `wait_ms`.

        An attempt that is not there yet may be asked for, if it would be the next: the answer comes when it begins,
        or when the job has its verdict without it.
        """
        request = _Request(
            job=about.text("job", most=300),
            number=about.number("attempt", 0),
            at=about.number("at", 0),
            limit=about.number("limit", CHUNK_BYTES_MAX, least=1, most=CHUNK_BYTES_MAX),
            tail_lines=about.number("tail_lines", 0, most=TAIL_LINES_MAX),
        )
        wait_ms = about.number("wait_ms", 0, most=WAIT_MS_MAX)
        about.finish()
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_ms / 1000
        steps: tuple[StepReport, ...] | None = None
        while True:
            with self._parking.enter(request.job) as place:
                found: _Found = await self._read(lambda: self._look(request))
                left_ms = int((until - loop.time()) * 1000)
                news = found.news or found.steps != (found.steps if steps is None else steps)
                if news or left_ms <= 0 or self._complete(found) or not await place.wait(left_ms):
                    return self._reply(request, found)
                steps = found.steps

    def _look(self, request: _Request) -> _Found:
        job, attempts = self._job_of(request.job)
        number = request.number or max(job.attempt, 1)
        if number > job.attempt + 1:
            raise not_found("attempt", number, f"the newest of {request.job} is {job.attempt}.")
        attempt = next((attempt for attempt in attempts if attempt.number == number), None)
        if attempt is None:
            return _Found(job=job, number=number, attempt=None, part=None)
        if request.tail_lines:
            part = self._logs.tail(request.job, number, lines=request.tail_lines, limit=request.limit)
        else:
            part = self._logs.read(request.job, number, request.at, request.limit)
        return _Found(job=job, number=number, attempt=attempt, part=part)

    def _job_of(self, name: str) -> tuple[Job, list[Attempt]]:
        number = name.partition("/")[0]
        detail: BuildDetail | None = self._reader.build(int(number)) if number.isascii() and number.isdigit() else None
        job = next((job for job in detail.jobs if job.id == name), None) if detail else None
        if detail is None or job is None:
            raise not_found("job", name, "jobs are called BUILD/NAME, and `surveil show BUILD` lists them.")
        return job, [attempt for attempt in detail.attempts if attempt.job == name]

    def _complete(self, found: _Found) -> bool:
        """Whether nothing more will come for this attempt."""
        attempt, job = found.attempt, found.job
        if attempt is None or found.part is None:
            return job.state in VERDICTS
        if attempt.state in OPEN:
            return False
        if attempt.state == AttemptState.LOST:
            # Its runner may come back for it, as long as nobody else was given the job.
            return job.attempt > attempt.number or job.state in VERDICTS
        end = attempt.log_end
        whole = end is not None and found.part.length >= end
        return whole or self._live.now() - (attempt.finished_at or 0) > LATE_MS

    def _reply(self, request: _Request, found: _Found) -> Reply:
        part, attempt = found.part, found.attempt
        at = request.at if part is None else part.at
        data = b"" if part is None else part.data
        end = 0 if part is None else part.length
        read_to = at + len(data)
        damaged = [{"at": at, "end": read_to}] if part is not None and part.damaged and data else []
        complete = self._complete(found)
        if (
            complete
            and attempt is not None
            and part is not None
            and part.damaged
            and read_to >= end < attempt.log_bytes
        ):
            # Nothing of it can be read, not even how long it is.
            damaged.append({"at": end, "end": attempt.log_bytes})
            read_to = end = attempt.log_bytes
        missing = "" if attempt is None else self._facts(attempt, end).missing
        return Reply(
            body={
                "job": request.job,
                "attempt": found.number,
                "exists": attempt is not None,
                "at": at,
                "next": read_to,
                "end": end,
                "complete": complete and read_to >= end,
                "missing": missing or None,
                "settled": found.job.state in VERDICTS and found.number >= found.job.attempt,
                "damaged": damaged,
                "runner": None if attempt is None else attempt.runner_name,
                "steps": [] if attempt is None else [_step_view(step) for step in steps_of(attempt)],
            },
            data=data,
        )


def _step_view(step: StepReport) -> dict[str, Any]:
    """What tells people where in a log a step begins, and what surveil remarked on its output."""
    view: dict[str, Any] = {"name": step.name[:STEP_NAME_CHARACTERS_MAX], "state": step.state, "log_at": step.log_at}
    if step.remarks:
        view["remarks"] = [{"at": remark.at, "text": remark.text} for remark in step.remarks]
    return view
