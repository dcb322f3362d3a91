"""The recovery report of a drill as people read it.

What belongs here: its facts in words. What does not: what counts as held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from surveil.screen.words import at_time, counted, span


def recovery_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What died, when that was noticed, where the work went on, and what was lost: names and values."""
    return [(name, value) for name, value in _facts(report) if value]


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    at = at_time(report["died_at"])
    if report["kind"] == "runner":
        yield "died", f"runner {report['victim']} (process {report['pid']}) and its attempt at {report['job']}, at {at}"
    else:
        stopped = span(report["stopped_ms"])
        yield "stopped", f"the dispatcher (process {report['pid']}) for {stopped}, from {at} on"
    noticed = report["noticed"] or "not at all"
    yield "noticed", f"{_after(report['noticed_after_ms'])}{noticed}"
    if report["kind"] == "runner":
        where = f"on runner {report['went_on_runner']}" if report["went_on_runner"] else "nowhere"
        yield "went on", f"{_after(report['went_on_after_ms'])}{where}"
    tries = counted(len(report["attempts"]), "attempt")
    yield "verdict", f"{_after(report['verdict_after_ms'])}{report['verdict']}, with {tries}"
    if report["kind"] == "runner":
        back = "not back" if report["back_after_ms"] is None else f"back after {span(report['back_after_ms'])}"
        yield report["victim"], back + (", started by the drill" if report["started_again"] else "")
    yield "other jobs", "; ".join(report["others"])
    lines = f"{report['lines_kept']} of {report['lines']} lines of the log are there"
    yield "lost", f"nothing: {lines}, and one verdict" if report["held"] else f"{lines}; {'; '.join(report['faults'])}"


def _after(after_ms: int | None) -> str:
    return "" if after_ms is None else f"after {span(max(0, after_ms))}: "
