"""A job that runs here and now, for the person who typed it: its output, what is said about it, and Ctrl-C.

What belongs here: what `run` and `replay` do alike. What does not: running the job (`surveil.execute.local`), and which
jobs there are (`here`, `replay`).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from surveil.cli.tests import duration_words, total_line
from surveil.config import ReplayConfig, RunConfig
from surveil.errors import ExitCode
from surveil.execute.collect.results_here import Results
from surveil.execute.isolation import isolating
from surveil.execute.local import LocalRun
from surveil.protocol import JobOutput, StepReport
from surveil.screen.colours import is_terminal
from surveil.screen.printing import tell
from surveil.screen.terminal import SafeOutput

CANCEL_GRACE_MS: Final = 10_000
"""How long the running job may take to end by itself after the first Ctrl-C."""
FAILURES_SHOWN: Final = 20
SLOWEST_SHOWN: Final = 3
_CODES: Final[Mapping[str, ExitCode]] = {
    "passed": ExitCode.OK,
    "skipped": ExitCode.OK,
    "failed": ExitCode.BUILD_FAILED,
    "cancelled": ExitCode.CANCELLED,
}


@dataclass(slots=True)
class Interrupts:
    """Ctrl-C, once and twice: the first lets the running job end by itself, the second ends it at once."""

    running: LocalRun
    count: int = field(default=0)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Take the signals for as long as the block lasts."""
        with _handled(self._take, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            yield

    @property
    def words(self) -> str:
        """Why a job is cancelled."""
        return "interrupted" if self.count == 1 else "interrupted, at once"

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.count += 2 if number == signal.SIGHUP else 1  # Nobody is left at a terminal that is gone.
        self.running.cancel(CANCEL_GRACE_MS if self.count == 1 else 0)


@contextlib.contextmanager
def putting_away() -> Iterator[None]:
    """Whatever asks us to end interrupts us as Ctrl-C does, so that nothing of a job stays behind."""
    with _handled(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handled(take: Callable[[int, FrameType | None], Any], *numbers: signal.Signals) -> Iterator[None]:
    """Take these signals, but for those that whoever started us has us ignore, as `nohup` does."""
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in taken:
            signal.signal(number, take)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


class Output:
    """Where a job's bytes go: as they are to a file or program, made safe for a terminal."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._safe = SafeOutput() if is_terminal(self._stream) else None

    def write(self, data: bytes) -> None:
        """Write a piece at once."""
        self._put(data if self._safe is None else self._safe.feed(data))

    def finish(self) -> None:
        """Write what was held back."""
        if self._safe is not None:
            self._put(self._safe.finish())

    def _put(self, data: bytes) -> None:
        self._stream.flush()
        self._stream.buffer.write(data)
        self._stream.buffer.flush()


def isolation_of(config: RunConfig | ReplayConfig) -> isolating.Isolation:
    """What the steps are kept in; that they are not is said. Raises InfrastructureError."""
    found = isolating.choose(
        config.sandbox, memory_bytes=config.memory_bytes, processes=config.processes, expose=config.expose
    )
    if found.complaint:
        tell(found.complaint, "weak")
    return found


def code_of(state: str, *, interrupted: bool) -> ExitCode:
    """What a command ends with whose jobs came to this."""
    return ExitCode.INTERRUPTED if interrupted else _CODES.get(state, ExitCode.INFRASTRUCTURE)


def tell_remarks(name: str, steps: Sequence[StepReport]) -> None:
    """Say what surveil itself has to say of a job's output."""
    for remark in (each for step in steps for each in step.remarks):
        tell(f"--- {name}: {remark.text} ---", "weak")


def step_document(step: StepReport) -> dict[str, Any]:
    """A step for `--json`."""
    remarks = [{"at": remark.at, "text": remark.text} for remark in step.remarks]
    image = step.image or None
    return {"name": step.name, "state": step.state, "exit_code": step.exit_code, "image": image, "remarks": remarks}


def outputs_document(outputs: Sequence[JobOutput]) -> dict[str, str]:
    """What a job put out for `--json`."""
    return {output.name: output.value for output in outputs}


def tests_document(found: Results) -> dict[str, Any]:
    """What the tests of a job came to, for `--json`: as a job of a build has it, as far as it is known here."""
    tally = found.tally
    return {
        "total": tally.passed + tally.failed + tally.errored + tally.skipped,
        "passed": tally.passed,
        "failed": tally.failed,
        "errored": tally.errored,
        "skipped": tally.skipped,
        "new": None,
        "duration_ms": tally.duration_ms,
        "problems": list(tally.problems),
    }


def tell_tests(found: Sequence[Results]) -> None:
    """What the tests of all jobs came to: failures first, then the slowest."""
    if not found:
        return
    tell(total_line(map(tests_document, found)))
    for one in found:
        where = f"  [{one.job}]" if len(found) > 1 else ""
        for problem in one.tally.problems:
            tell(f"  {problem}{where}", "weak")
        for case in one.wrong[:FAILURES_SHOWN]:
            tell(f"{case.state:<8} {case.suite} {case.name}".rstrip() + where, case.state)
            if case.message:
                tell(f"    {case.message}")
        if len(one.wrong) > FAILURES_SHOWN:
            tell(f"and {len(one.wrong) - FAILURES_SHOWN} more{where}")
    slow = sorted((case for one in found for case in one.slowest if case.duration_ms), key=lambda one: -one.duration_ms)
    if slow:
        tell(
            "slowest: " + ", ".join(f"{case.name} {duration_words(case.duration_ms)}" for case in slow[:SLOWEST_SHOWN])
        )
