"""The story of jobs in plain words: lines of the journal and the records that they are about, put together in the order
in which things happened.

What belongs here: which lines there are, their sentences and their order. What does not: reading the journal, and
answering in pages (`story`).

Of what stands in the records only (an attempt handed out, a step that began) there is no line in the journal, and of
what is no state (a result that came too late, a restart of ours) there is no record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final

from surveil.answer.looking import taken
from surveil.core.journal import seconds
from surveil.core.model import VERDICTS, Attempt, AttemptState, Build, Job, Note, Status
from surveil.core.run_verdict import about_attempt
from surveil.core.taking import whence
from surveil.frozen import dataclass, replace
from surveil.store import BuildDetail

LogBytes = Callable[[str, int], int]
"""How many bytes of an attempt's log are on disk."""

WAIT_TOLD_MS: Final = 1_000
"""A shorter wait for a runner is none that people would ask about."""
STEP_NAME_CHARACTERS_MAX: Final = 80
_SHA_DIGITS: Final = 7
_AGAIN_LATER: Final = "tried again after"

_RUNNER: Final[Mapping[str, str]] = {
    "online": "is there again",
    "suspect": "may be gone",
    "offline": "counts as gone",
    "restarted": "started again",
    "cordoned": "gets no more work",
    "draining": "takes nothing new",
    "copied": "has a copy",
}
_DISPATCHER: Final[Mapping[str, str]] = {
    "started": "the dispatcher started again",
    "stalled": "the dispatcher stood still",
    "doubtful": "the dispatcher doubted itself",
}
_LAST: Final = 1_000_000
"""After all attempts, of which each has ten places."""
_GIVEN, _ACCEPTED, _STEP, _OVER, _LATE, _QUEUED = 1, 2, 3, 4, 5, 6
"""The places of an attempt's lines, where several happened within a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something that happened at `at`. `place` orders what happened in the same millisecond."""

    at: int
    place: int
    what: str
    text: str
    job: str | None = None
    attempt: int | None = None
    runner: str | None = None
    step: int | None = None
    """The number of a step that began, and minus that of one that ended."""


def tell(
    detail: BuildDetail, notes: Sequence[Note], beside: Sequence[Note], *, job: str | None, kept: LogBytes
) -> list[Line]:
    """The story of a build, or of one of its jobs: `notes` are the build's lines of the journal, and `beside` those of
    its runners and of the dispatcher meanwhile.
    """
    build = detail.build
    jobs = [each for each in detail.jobs if job in {None, each.id}]
    lines = [_seen(build, notes)]
    for each in jobs:
        tries = tuple(attempt for attempt in detail.attempts if attempt.job == each.id)
        mine = [note for note in notes if note.id == each.id or note.id.startswith(f"{each.id}#")]
        takes = ", ".join(whence(taken(detail, each), build.id) if each.attempt else ())
        lines += _OfJob(each, tries, mine, beside, kept, takes).lines()
    tries = tuple(attempt for attempt in detail.attempts if job in {None, attempt.job})
    end = max((each.finished_at or _forever(beside) for each in jobs), default=build.finished_at or build.created_at)
    lines += _meanwhile(tries, beside, build.created_at, end)
    if job is None:
        lines += [
            Line(at=note.at, place=_LAST + 1, what="build", text=_with(f"build {build.id} {note.state}", note.reason))
            for note in notes
            if note.what == "build" and note.state in VERDICTS
        ]
    return _folded(sorted(lines, key=lambda line: (line.at, line.place)))


def _forever(beside: Sequence[Note]) -> int:
    return beside[-1].at if beside else 0


def _seen(build: Build, notes: Iterable[Note]) -> Line:
    """How the commit came; journals of earlier versions do not say by whom it was seen."""
    known = (note.reason for note in notes if note.what == "build" and note.at == build.created_at)
    ref = build.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    came = next((reason for reason in known if reason), "it came in")
    return Line(at=build.created_at, place=-1, what="seen", text=f"commit {build.sha[:_SHA_DIGITS]} of {ref}: {came}")


@dataclass(slots=True)
class _OfJob:
    """The lines of one job."""

    job: Job
    attempts: Sequence[Attempt]
    notes: Sequence[Note]
    beside: Sequence[Note]
    kept: LogBytes
    takes: str = ""
    """The attempts whose artifacts it takes."""
    queued: list[tuple[int, str]] = field(default_factory=list)
    """When it began to wait for a runner, each time, and why it did."""

    def lines(self) -> list[Line]:
        """All of them, in no order."""
        found = [*self._waits()]
        for attempt in self.attempts:
            mine = [note for note in self.notes if note.id == f"{self.job.id}#{attempt.number}"]
            found += [self._given(attempt), *self._taken(attempt, mine), *_steps(attempt), *self._over(attempt, mine)]
        return [replace(line, job=self.job.id) for line in found]

    def _waits(self) -> Iterator[Line]:
        """When and why it waited, and its verdict."""
        job, needs = self.job, self.job.spec.needs
        carried = job.attempt == 0 and job.finished_at == job.created_at
        if needs and not carried:
            yield Line(at=job.created_at, place=0, what="blocked", text=f"waits for {', '.join(needs)}")
        elif not carried and not self._was_decided():
            self.queued.append((job.created_at, ""))
            yield Line(at=job.created_at, place=0, what="queued", text="queued")
        for note in self.notes:
            if note.what != "job":
                continue
            if note.state in VERDICTS:
                yield Line(at=note.at, place=_LAST, what=note.state, text=self._verdict(note))
                continue
            before = max((number for at, number, _ in self._ends() if at <= note.at), default=0)
            if note.state == Status.QUEUED:
                self.queued.append((note.at, note.reason))
            yield Line(at=note.at, place=before * 10 + _QUEUED, what=note.state, text=self._waits_again(note))

    def _was_decided(self) -> bool:
        """Whether it was not queued before its condition was decided, of which a line of its own tells."""
        told = any(note.what == "job" and note.state == Status.QUEUED and not note.reason for note in self.notes)
        return told or (self.job.attempt == 0 and self.job.state in {Status.SKIPPED, Status.ERRORED})

    def _waits_again(self, note: Note) -> str:
        if note.state == Status.HELD:
            return _with("held", note.reason)
        if not note.reason and self.job.spec.when != "passed":
            return "queued: its condition holds"
        if not note.reason:
            return "queued: what it needs has passed" if self.job.spec.needs else "queued"
        told = any(at == note.at and reason == note.reason for at, _, reason in self._ends())
        return "queued again" if told else _with("queued again", note.reason)

    def _ends(self) -> Iterator[tuple[int, int, str]]:
        """When which attempt ended, and why; one that was taken back ends more than once."""
        for note in self.notes:
            if note.what == "attempt" and note.state != AttemptState.RUNNING:
                yield note.at, int(note.id.rpartition("#")[2]), note.reason

    def _verdict(self, note: Note) -> str:
        told = any(attempt.reason.startswith(note.reason) for attempt in self.attempts)
        return _with(f"the job {_was(note.state)}", "" if told else note.reason)

    def _given(self, attempt: Attempt) -> Line:
        since = max((entry for entry in self.queued if entry[0] <= attempt.assigned_at), default=None)
        text = f"attempt {attempt.number} was given to runner {attempt.runner_name}"
        if since is not None and attempt.assigned_at - since[0] >= WAIT_TOLD_MS:
            text += f", after {seconds(attempt.assigned_at - since[0])} in the queue: {self._cause(attempt, *since)}"
        if self.takes:
            text += f"; it takes the artifacts of {self.takes}"
        return _of(attempt, attempt.assigned_at, _GIVEN, "given", text)

    def _cause(self, attempt: Attempt, since: int, reason: str) -> str:
        """What a job waited for, as it turned out when it was over."""
        meanwhile = [note for note in self.beside if since < note.at <= attempt.assigned_at]
        if any(note.what == "dispatcher" and note.state == "started" for note in meanwhile):
            return "the dispatcher was away"
        if any(note.id == attempt.runner and note.state in {"online", "restarted"} for note in meanwhile):
            return "the runner was not there before"
        return "it was not to be tried at once" if reason.startswith(_AGAIN_LATER) else "no runner had room before"

    def _taken(self, attempt: Attempt, notes: Iterable[Note]) -> Iterator[Line]:
        """Its runner's acceptance, and each time that it came back with it."""
        accepted = f"runner {attempt.runner_name} accepted it"
        first = True
        for note in notes:
            if note.state == AttemptState.RUNNING:
                text = accepted if first else note.reason
                yield _of(attempt, note.at, _ACCEPTED if first else _LATE, "accepted" if first else "back", text)
                first = False
        if first and attempt.accepted_at is not None:
            yield _of(attempt, attempt.accepted_at, _ACCEPTED, "accepted", accepted)

    def _over(self, attempt: Attempt, notes: Iterable[Note]) -> Iterator[Line]:
        """How it ended, as often as it did, and what came too late."""
        if attempt.state == AttemptState.PASSED and attempt.finished_at is not None:
            text = f"attempt {attempt.number} passed{self._log(attempt)}"
            yield _of(attempt, attempt.finished_at, _OVER, "passed", text)
        for note in notes:
            if note.state == AttemptState.RUNNING:
                continue
            if note.state not in set(AttemptState):
                yield _of(attempt, note.at, _LATE, note.state, f"attempt {attempt.number}: {note.reason}")
            elif note.reason.startswith(f"runner {attempt.runner_name} refused it"):
                yield _of(attempt, note.at, _OVER, "refused", note.reason)
            else:
                over = _with(f"attempt {attempt.number} {_was(note.state)}", note.reason)
                yield _of(attempt, note.at, _OVER, note.state, over + self._log(attempt))

    def _log(self, attempt: Attempt) -> str:
        """How much there is of its log."""
        here = self.kept(attempt.job, attempt.number)
        if attempt.state == AttemptState.LOST:
            return f"; {here} bytes of its log are here"
        missing = f", of which {here} are here" if here < attempt.log_bytes else ""
        return f"; its log has {attempt.log_bytes} bytes{missing}"


def _steps(attempt: Attempt) -> Iterator[Line]:
    accepted_at = attempt.accepted_at
    if accepted_at is None:
        return
    for index, step in enumerate(attempt.steps, 1):
        if step.started_after_ms is None:
            continue
        name = next(iter(step.name.splitlines()), "")[:STEP_NAME_CHARACTERS_MAX]
        called = f"step {index} of {len(attempt.steps)}" + (f" `{name}`" if name else "")
        begun_at = _within(attempt, accepted_at + step.started_after_ms)
        yield replace(_of(attempt, begun_at, _STEP, "step", f"{called} began"), step=index)
        for remark in step.remarks:
            said_at = _within(attempt, accepted_at + remark.after_ms)
            of_all = about_attempt(remark, step, attempt.log_bytes)
            whose = f"attempt {attempt.number}" if of_all else called
            yield _of(attempt, said_at, _STEP, "log", f"{whose}: {remark.text}")
        if step.finished_after_ms is None or step.state == "running":
            continue
        code = f" with exit code {step.exit_code}" if step.exit_code else ""
        text = f"{called} {_was(step.state)}{code} after {seconds(step.finished_after_ms - step.started_after_ms)}"
        ended_at = _within(attempt, accepted_at + step.finished_after_ms)
        yield replace(_of(attempt, ended_at, _STEP, "step", text), step=-index)


def _within(attempt: Attempt, at: int) -> int:
    """No step outlives its attempt: a runner counts from its own acceptance, of which we heard a little later."""
    return at if attempt.finished_at is None else min(at, attempt.finished_at)


def _meanwhile(attempts: Sequence[Attempt], beside: Iterable[Note], begin: int, end: int) -> Iterator[Line]:
    """What happened to the runners while they had something to do with it, and to the dispatcher."""
    for note in beside:
        if note.what == "dispatcher" and begin < note.at <= end:
            yield Line(
                at=note.at,
                place=-3,
                what="dispatcher",
                text=_with(_DISPATCHER.get(note.state, note.state), note.reason),
            )
        concerned = next((each for each in attempts if note.id == each.runner and _concerns(each, note)), None)
        if concerned is not None:
            name = concerned.runner_name
            text = _with(f"runner {name} {_RUNNER.get(note.state, note.state)}", note.reason)
            yield Line(at=note.at, place=-2, what="runner", text=text, runner=name)


def _concerns(attempt: Attempt, note: Note) -> bool:
    """Whether this happened to its runner while that had the attempt, or after it was lost with it."""
    over_at = attempt.finished_at
    return attempt.assigned_at < note.at and (
        over_at is None or note.at <= over_at or attempt.state == AttemptState.LOST
    )


def _folded(lines: Sequence[Line]) -> list[Line]:
    """Steps whose end follows their beginning are told in one line."""
    told: list[Line] = []
    for line in lines:
        before = told[-1] if told else None
        if (
            before is not None
            and line.step is not None
            and before.step == -line.step
            and (before.job, before.attempt) == (line.job, line.attempt)
        ):
            told[-1] = replace(line, at=before.at)
        else:
            told.append(line)
    return told


def _of(attempt: Attempt, at: int, place: int, what: str, text: str) -> Line:
    return Line(
        at=at, place=attempt.number * 10 + place, what=what, text=text, attempt=attempt.number,
        runner=attempt.runner_name,
    )  # fmt: skip


def _was(state: str) -> str:
    return f"was {state}" if state in {"cancelled", "skipped", "lost"} else state


def _with(sentence: str, reason: str) -> str:
    return f"{sentence}: {reason}" if reason else sentence
