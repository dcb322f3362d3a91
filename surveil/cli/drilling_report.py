"""What a drill did and saw, for the report.

What belongs here: the record, and its document for `--json`. What does not: the drill (`drilling`), and the report in
words (`surveil.screen.recovery`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a drill did and saw. Times are the dispatcher's, as in the story; None is what did not happen."""

    kind: str
    victim: str
    pid: int
    build: int = 0
    job: str = ""
    died_at: str | None = None
    for_ms: int | None = None
    noticed: Mapping[str, Any] | None = None
    went_on: Mapping[str, Any] | None = None
    verdict: str = ""
    verdict_at: str | None = None
    back_after_ms: int | None = None
    started_again: bool = False
    lines: int = 0
    lines_kept: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Other jobs that ran on the victim, and what the drill did to them if anything."""
    faults: list[str] = field(default_factory=list)
    """Whatever did not hold, a sentence each."""

    @property
    def held(self) -> bool:
        """Whether the installation did what it promises."""
        return not self.faults


def after_ms(since: str | None, at: str | None) -> int | None:
    """How long after one instant another one was."""
    if since is None or at is None:
        return None
    return int((datetime.fromisoformat(at) - datetime.fromisoformat(since)).total_seconds() * 1000)


def document(seen: Seen) -> dict[str, Any]:
    """The report for scripts."""
    return {
        "held": seen.held,
        "kind": seen.kind,
        "victim": seen.victim,
        "pid": seen.pid,
        "build": seen.build,
        "job": f"{seen.build}/{seen.job}",
        "died_at": seen.died_at,
        "stopped_ms": seen.for_ms,
        "noticed_after_ms": after_ms(seen.died_at, seen.noticed["at"] if seen.noticed else None),
        "noticed": seen.noticed["text"] if seen.noticed else None,
        "went_on_after_ms": after_ms(seen.died_at, seen.went_on["at"] if seen.went_on else None),
        "went_on_runner": seen.went_on["runner"] if seen.went_on else None,
        "verdict": seen.verdict,
        "verdict_after_ms": after_ms(seen.died_at, seen.verdict_at),
        "back_after_ms": seen.back_after_ms,
        "started_again": seen.started_again,
        "lines": seen.lines,
        "lines_kept": seen.lines_kept,
        "attempts": [{"number": each["number"], "state": each["state"]} for each in seen.attempts],
        "others": seen.others,
        "faults": seen.faults,
    }
