"""`logs`: the bytes that a build's steps printed.

What belongs here: which attempts are shown, in which order, and what surveil adds on stderr (seams, lost attempts,
damage). What does not: what is safe for a terminal (`terminal`), and getting the bytes (`surveil.client`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from surveil.cli.connecting import connected
from surveil.cli.options import BUILD, Number, client_flags, example, json_flag, offered
from surveil.client import LogPiece
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotFoundError
from surveil.screen.colours import is_terminal
from surveil.screen.printing import print_json, print_json_line, tell
from surveil.screen.steps import Remark, StepHeads
from surveil.screen.terminal import SafeOutput
from surveil.screen.words import why

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher


@click.command(
    epilog=example("surveil logs 12 test", "surveil logs 12 test -f", "surveil logs 12 --attempt 1 > first-try.log")
)
@click.argument("build", type=BUILD)
@click.argument("job", required=False, shell_complete=offered("jobs"))
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the job has its verdict.")
@click.option("--attempt", type=Number(1), metavar="N", help="This attempt instead of the newest.")
@click.option("--tail", type=Number(1, 10_000), metavar="LINES", help="Begin with the last LINES lines.")
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
    With --json: a line for each piece, with its job, attempt, offset and text, and for each remark of surveil's.
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
    """Where the pieces of one log go. The steps are told apart for people; a script has the offsets."""

    def __init__(self, *, as_json: bool, raw: bool) -> None:
        self._as_json = as_json
        self._safe = None if raw or as_json or not is_terminal(sys.stdout) else SafeOutput()
        self._heads = StepHeads()
        self._steps: tuple[Mapping[str, Any], ...] = ()
        self._whose: dict[str, Any] = {}

    def write(self, job: str, piece: LogPiece) -> None:
        """Write one piece at once; its gaps are told on stderr, and so is what surveil remarks on it."""
        for gap in piece.damaged:
            tell(
                f"--- {job} attempt {piece.attempt}: bytes {gap['at']} to {gap['end']} of the log are lost ---", "weak"
            )
        whose = {"job": job, "attempt": piece.attempt}
        if self._as_json and (piece.data or piece.missing or whose != self._whose):
            text = piece.data.decode("utf-8", "replace")
            print_json_line(
                {
                    **whose, "at": piece.at, "bytes": len(piece.data), "text": text, "missing": piece.missing or None,
                    "remark": None,
                }
            )  # fmt: skip
        self._steps, self._whose = piece.steps, whose
        for part in self._heads.split(piece.at, piece.data, piece.steps):
            if isinstance(part, str):
                self._tell(part)
            elif not self._as_json:
                write_bytes(part if self._safe is None else self._safe.feed(part))

    def end_attempt(self) -> None:
        """Write what was held back, and tell the steps that printed nothing at the end."""
        if self._safe is not None:
            write_bytes(self._safe.finish())
        for part in self._heads.finish(self._steps):
            self._tell(part)
        self._heads, self._steps = StepHeads(), ()

    def _tell(self, text: str) -> None:
        """A heading, which scripts can do without, or a remark, which is a line of its own for them."""
        if not self._as_json:
            tell(f"--- {text} ---", "weak" if isinstance(text, Remark) else "faint")
        elif isinstance(text, Remark):
            said = {"bytes": 0, "text": "", "missing": None, "remark": str(text)}
            print_json_line({**self._whose, "at": text.at, **said})


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
        tell(f"--- {job['id']}: {job['state']}, no attempt yet{_because(why(job))} ---")
        return
    if attempt is not None and not follow and attempt > job["attempt"]:
        raise NotFoundError(f"Job {quoted(job['id'])} has no attempt {attempt}; its newest is {job['attempt']}.")
    shown = 0
    for piece in dispatcher.follow_log(job["id"], attempt=attempt, tail_lines=tail, follow=follow):
        if piece.attempt != shown:
            writer.end_attempt()
            _tell_seam(job, piece, shown)
            shown = piece.attempt
        writer.write(job["id"], piece)
        if piece.missing:
            writer.end_attempt()
            tell(f"--- {job['id']} attempt {piece.attempt}: {piece.missing} ---", "lost")
    writer.end_attempt()


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
    runner = f" on {piece.runner}" if piece.runner else ""
    state = f": {known['state']}" if known else ""
    tell(f"--- {job['id']} attempt {piece.attempt}{runner}{state} ---", "running")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
