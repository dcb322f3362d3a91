"""Talking to a dispatcher: questions with answers, and following what grows.

What belongs here: what the answers are to who asked, and which exit code a verdict stands for. What does not: the same
without an event loop (`surveil.cli.blocking`), sockets (`surveil.net`), and what questions there are
(`surveil.answer`).

* `access` finds the dispatcher and our key for it, `asking` asks, `following` asks again and again for what comes.

Nothing here is a subscription: a question that waits for news names the place from which on it wants to hear, so
after any break the same question is simply asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from surveil.errors import ExitCode, SurveilError
from surveil.frozen import dataclass

VERDICTS: Final[Mapping[str, ExitCode]] = {
    "passed": ExitCode.OK,
    "skipped": ExitCode.OK,
    "failed": ExitCode.BUILD_FAILED,
    "errored": ExitCode.INFRASTRUCTURE,
    "cancelled": ExitCode.CANCELLED,
}
"""The states that nothing leaves, and the exit code of each."""


class WaitOver(SurveilError):
    """The time that a person gave is over, and what was waited for has not come."""

    exit_code = ExitCode.TIMED_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer without an error."""

    body: Any
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Behalf:
    """For whom a client asks, and how that one came to it: `page`, `api` or `command`. It is what the client says."""

    person: str = ""
    way: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Bytes `at` and on of an attempt's log; `damaged` are the ranges before their end that cannot be read any more.
    `steps` are those of the attempt as they stood when the piece was sent. The last piece says in a sentence what of
    the log is `missing`, if anything.
    """

    attempt: int
    at: int
    data: bytes
    damaged: tuple[Mapping[str, int], ...] = ()
    runner: str = ""
    steps: tuple[Mapping[str, Any], ...] = ()
    missing: str = ""


def exit_code_of(build: Mapping[str, Any]) -> ExitCode:
    """What a command that waited for this build ends with; a pipeline that is none is its author's doing."""
    if build["state"] == "errored" and build["complaints"]:
        return ExitCode.INVALID
    return VERDICTS[build["state"]]
