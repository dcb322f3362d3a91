"""Collects the test results of an attempt: has its reports read, and says what is in them until it is kept.

What belongs here: the process that reads, and the conversation about its results. What does not: formats and places
(`surveil.insight`), and when it is done (`collecting`).

The conversation lives in the thread that waits for it; the loop only hands it what is heard. One message is on its way
at a time, and is said again until the dispatcher has it on its disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import IO, Any, Final

from surveil.core.model import AttemptId
from surveil.errors import InfrastructureError, ProtocolError
from surveil.execute.collect.collecting import Collection, Work
from surveil.frozen import replace
from surveil.insight.finding import find
from surveil.insight.reading import part_of
from surveil.protocol import Case, Cases, CasesKept, Tally
from surveil.say import Voice

READER: Final = "surveil.insight.reading"
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A part is far smaller; what is longer is no part."""
AGAIN_S: Final = 5.0
LOOK_S: Final = 0.5
"""How often whoever waits looks whether anybody still wants it."""
_PIECE_BYTES: Final = 256 * 1024

voice = Voice("execute")


class CaseCollector:
    """Keeps the promise of `Collector` for test results. `say` says a `Cases` from any thread, and may lose it."""

    def __init__(self, say: Callable[[Cases], None]) -> None:
        self._say = say
        self._inboxes: dict[AttemptId, SimpleQueue[CasesKept | None]] = {}

    def hear(self, kept: CasesKept) -> None:
        """Take what came. Called in the loop; never waits."""
        if (inbox := self._inboxes.get((kept.job, kept.attempt))) is not None:
            inbox.put(kept)

    def restart(self) -> None:
        """Say again what is on its way: there is a new connection, and what was said on an old one is lost."""
        for inbox in list(self._inboxes.values()):
            inbox.put(None)

    def __call__(self, work: Work) -> Collection:
        """Read the reports, and tell their results."""
        if not work.assign.spec.reports or not any_reports(work):
            return Collection()
        inbox = self._inboxes[work.id] = SimpleQueue()
        try:
            at = 0
            for part in results(work):
                cases = () if isinstance(part, Tally) else tuple(part)
                tally = part if isinstance(part, Tally) else None
                if tally is not None and not at and not _says(tally):
                    break
                said = Cases(job=work.id[0], attempt=work.id[1], at=at, cases=cases, tally=tally)
                self._deliver(work, said, inbox)
                at += len(cases)
        finally:
            del self._inboxes[work.id]
        return Collection()

    def _deliver(self, work: Work, said: Cases, inbox: SimpleQueue[CasesKept | None]) -> None:
        upto = said.at + len(said.cases)
        again_at = 0.0
        while True:
            work.check()
            if time.monotonic() >= again_at:
                self._say(said)
                again_at = time.monotonic() + AGAIN_S
            try:
                heard = inbox.get(timeout=LOOK_S)
            except Empty:
                continue
            if heard is None:
                again_at = 0.0
            elif heard.upto >= upto and (said.tally is None or heard.whole):
                return


def any_reports(work: Work) -> bool:
    """Whether there is anything to read: most works have no reports, and need no process for that."""
    patterns = work.assign.spec.reports
    try:
        return next(find(work.workspace.work, patterns, since_ns=work.since_ns), None) is not None
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"the test reports were not read: {error}") from error


def _says(tally: Tally) -> bool:
    return bool(tally.passed or tally.failed or tally.errored or tally.skipped or tally.problems)


def results(work: Work) -> Iterator[list[Case] | Tally]:
    """What the reports in a work tree say, as a process of its own reads it; the last part is the tally. What is
    secret is covered.

    Raises:
        Unwanted: nobody wants it any more.
        InfrastructureError: the process did not do its part.
    """
    asked = {
        "root": str(work.workspace.work),
        "patterns": work.assign.spec.reports,
        "since_ns": work.since_ns,
    }
    try:
        reader = subprocess.Popen(
            [sys.executable, "-P", "-m", READER],  # No module from the folder in which somebody started us.
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise InfrastructureError(f"the test reports were not read: no process could be started: {error}") from error
    with reader:
        assert reader.stdin is not None, "it is a pipe"
        assert reader.stdout is not None, "it is one as well"
        try:
            with contextlib.suppress(BrokenPipeError):
                reader.stdin.write(json.dumps(asked).encode())
                reader.stdin.close()
            for part in _parts(work, reader.stdout):
                yield _covered(work, part)
        finally:
            reader.kill()


def _covered(work: Work, part: list[Case] | Tally) -> list[Case] | Tally:
    def cover(text: str) -> str:
        return work.cover(text)[: len(text)]  # A cover may be longer than what it covers, and there are limits.

    if isinstance(part, Tally):
        return replace(part, problems=tuple(map(cover, part.problems)))
    return [
        replace(one, suite=cover(one.suite), name=cover(one.name), message=cover(one.message), output=cover(one.output))
        for one in part
    ]


def _parts(work: Work, output: IO[Any]) -> Iterator[list[Case] | Tally]:
    ended = False
    try:
        for line in _lines(work, output):
            part = part_of(line)
            ended = isinstance(part, Tally)
            yield part
    except (ProtocolError, ValueError, TypeError, KeyError) as error:
        raise InfrastructureError(f"the test reports were not read to their end: {error}") from error
    if not ended:
        raise InfrastructureError(
            "the test reports were not read to their end: the process that reads them was ended, as if they took too "
            "much memory or time"
        )


def _lines(work: Work, output: IO[Any]) -> Iterator[bytes]:
    rest = b""
    while True:
        work.check()
        if not select.select([output], [], [], LOOK_S)[0]:
            continue
        piece = os.read(output.fileno(), _PIECE_BYTES)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > LINE_BYTES_MAX:
            raise ValueError("a part is longer than any can be")
