"""`logs`: the bytes that a build's steps printed.

What belongs here: which attempts are shown, in which order, and what surveil adds on stderr (seams, lost attempts,
damage). What does not: what is safe for a terminal (`terminal`), and getting the bytes (`surveil.client`).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from surveil.cli.connecting import Dispatcher, connected
from surveil.cli.options import BUILD, client_flags, example, json_flag
from surveil.cli.reading import first_line
from surveil.cli.screen import is_terminal, print_json, print_json_line, tell
from surveil.cli.terminal import SafeOutput
from surveil.client import LogPiece
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotFoundError


@click.command(
    epilog=example("surveil logs 12 test", "surveil logs 12 test -f", "surveil logs 12 --attempt 1 > first-try.log")
)
@click.argument("build", type=BUILD)
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the job has its verdict.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="This attempt instead of the newest.")
@click.option(
    "--tail", type=click.IntRange(min=1, max=10_000), metavar="LINES", help="Begin with the last LINES lines."
)
@click.option("--raw", is_flag=True, help="Print every byte as it is, also on a terminal.")
@client_flags
@json_flag
def logs(
    build: int,
    job: str | None,
    *,
    follow: bool,
    attempt: int | None,
    tail: int | None,
    raw: bool,
    as_json: bool,
    **where: str | None,
) -> None:
    """Print what the steps of a build printed.

    Without JOB: all jobs, one after the other. The bytes go to stdout just as they came; on a terminal, escape
    sequences other than colours are left out unless --raw is given. What surveil itself has to say goes to stderr.
    With --json: a line for each piece, with its job, attempt, offset and text.
    """
    with connected(where) as dispatcher:
        document = dispatcher.build(build)
        names = [known["name"] for known in document["jobs"]]
        if job is not None and job not in names:
            raise NotFoundError(f"Build {build} has no job {quoted(job)}; {did_you_mean(job, names)}")
        if not names and as_json:
            print_json([])
        for known in document["jobs"]:
            if job in {None, known["name"]}:
                _print_job(
                    dispatcher, known, _Writer(as_json=as_json, raw=raw), follow=follow, attempt=attempt, tail=tail
                )


class _Writer:
    """Where the pieces of one log go."""

    def __init__(self, *, as_json: bool, raw: bool) -> None:
        self._as_json = as_json
        self._safe = None if raw or as_json or not is_terminal(sys.stdout) else SafeOutput()

    def write(self, job: str, piece: LogPiece) -> None:
        """Write one piece at once; its gaps are told on stderr."""
        for gap in piece.damaged:
            tell(
                f"--- {job} attempt {piece.attempt}: bytes {gap['at']} to {gap['end']} of the log are lost ---", "weak"
            )
        if self._as_json:
            text = piece.data.decode("utf-8", "replace")
            print_json_line(
                {"job": job, "attempt": piece.attempt, "at": piece.at, "bytes": len(piece.data), "text": text}
            )
            return
        write_bytes(piece.data if self._safe is None else self._safe.feed(piece.data))

    def finish(self) -> None:
        """Write what was held back."""
        if self._safe is not None:
            write_bytes(self._safe.finish())

    @property
    def in_steps(self) -> bool:
        """Whether the steps are told apart for people; a script has the offsets."""
        return not self._as_json


class _Steps:
    """The steps of one attempt, told where the output of each begins; a step alone needs no words."""

    def __init__(self, writer: _Writer, steps: Iterable[Mapping[str, Any]]) -> None:
        self._writer = writer
        of_all = list(steps)
        numbered = [
            (step["log_at"], f"step {number} of {len(of_all)}: {first_line(step['name'])}, {step['state']}")
            for number, step in enumerate(of_all, start=1)
            if step["log_at"] is not None
        ]
        self._ahead = deque(numbered if writer.in_steps and len(of_all) > 1 else ())
        self._begun = False

    def write(self, job: str, piece: LogPiece) -> None:
        """Write a piece, and before each byte with which a step begins, that it does."""
        if not self._begun and piece.at > 0:
            self._skip_to(piece.at)
        self._begun = True
        while self._ahead and self._ahead[0][0] < piece.at + len(piece.data):
            begins_at, words = self._ahead.popleft()
            before = max(0, begins_at - piece.at)
            if before:
                self._writer.write(job, replace(piece, data=piece.data[:before]))
                piece = replace(piece, at=begins_at, data=piece.data[before:], damaged=())
            tell(f"--- {words} ---")
        self._writer.write(job, piece)

    def finish(self) -> None:
        """Tell the steps that printed nothing at the end."""
        for _, words in self._ahead:
            tell(f"--- {words} ---")
        self._ahead.clear()

    def _skip_to(self, at: int) -> None:
        """Where only the end of a log is shown, the step that it is of is enough."""
        while len(self._ahead) > 1 and self._ahead[1][0] <= at:
            self._ahead.popleft()


def write_bytes(data: bytes) -> None:
    """Write to stdout past its text layer, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _print_job(
    dispatcher: Dispatcher,
    job: Mapping[str, Any],
    writer: _Writer,
    *,
    follow: bool,
    attempt: int | None,
    tail: int | None,
) -> None:
    """One job's log: the attempt that was asked for, or the newest, or with `follow` every one from the newest on."""
    if not job["attempts"] and not follow:
        tell(f"--- {job['id']}: {job['state']}, no attempt yet{_because(job['reason'])} ---")
        return
    if attempt is not None and not follow and attempt > job["attempt"]:
        raise NotFoundError(f"Job {quoted(job['id'])} has no attempt {attempt}; its newest is {job['attempt']}.")
    shown, steps = 0, _Steps(writer, ())
    for piece in dispatcher.follow_log(job["id"], attempt=attempt, tail_lines=tail, follow=follow):
        if piece.attempt != shown:
            steps.finish()
            _tell_seam(job, piece, shown)
            shown = piece.attempt
            steps = _Steps(writer, _steps_of(job, shown))
        steps.write(job["id"], piece)
    writer.finish()
    steps.finish()


def _steps_of(job: Mapping[str, Any], number: int) -> Iterable[Mapping[str, Any]]:
    """The steps of an attempt that is over; of one that runs, what is known is out of date when it is shown."""
    over = [known for known in job["attempts"] if known["number"] == number and known["finished_at"]]
    return over[0]["steps"] if over else ()


def _tell_seam(job: Mapping[str, Any], piece: LogPiece, before: int) -> None:
    """Say which attempt begins here, and what became of the one before it."""
    by_number = {known["number"]: known for known in job["attempts"]}
    if before:
        tell(
            f"--- {job['id']} attempt {before} is over, and the job is tried again: attempt {piece.attempt} begins ---",
            "lost",
        )
        return
    for number in sorted(by_number):
        if number < piece.attempt and by_number[number]["state"] == "lost":
            tell(f"--- {job['id']} attempt {number} was lost{_because(by_number[number]['reason'])} ---", "lost")
    known = by_number.get(piece.attempt)
    runner = f" on {known['runner']}: {known['state']}" if known else ""
    tell(f"--- {job['id']} attempt {piece.attempt}{runner} ---")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
