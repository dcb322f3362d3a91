"""The words of GitHub's checks: what a check run says, and which of those that are there is ours.

What belongs here: GitHub's REST API, version 2022-11-28 (docs.github.com/rest/checks/runs). What does not: asking
(`app`), and what a check says of a build (`surveil.notify.checks`). Pure.

GitHub adds the annotations of each update to those that are there, so that they are said once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from surveil.frozen import dataclass

ANNOTATIONS_MAX: Final = 50
"""GitHub takes no more at once."""
CONCLUSIONS: Final = frozenset({"success", "failure", "neutral", "cancelled", "skipped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Something to be said beside a line of a file."""

    path: str
    line: int
    title: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """What GitHub is told of a commit. `external_id` is what it is with us; `state` is `queued`, `in_progress` or one
    of `CONCLUSIONS`. Instants are in UTC, as `2026-01-31T12:00:00Z`; `summary` is Markdown.
    """

    project: str
    sha: str
    name: str
    external_id: str
    state: str
    title: str
    summary: str
    url: str
    started_at: str | None = None
    finished_at: str | None = None
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A check run that is there: its number, and whether it has annotations."""

    id: int
    annotated: bool


def runs_path(run: CheckRun) -> str:
    """Where the newest check runs of this commit and name are listed."""
    asked = urlencode({"check_name": run.name, "filter": "latest", "per_page": 100})
    return f"/repos/{quote(run.project)}/commits/{run.sha}/check-runs?{asked}"


def known_in(found: object, run: CheckRun) -> Known | None:
    """Which of these is the check run that was made for the same; None where there is none.

    Raises:
        ValueError: it is no list of check runs.
    """
    listed = found.get("check_runs") if isinstance(found, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("it gives no list of check runs")
    for each in listed:
        if isinstance(each, Mapping) and each.get("external_id") == run.external_id:
            number, output = each.get("id"), each.get("output")
            if isinstance(number, int):
                count = output.get("annotations_count") if isinstance(output, Mapping) else None
                return Known(id=number, annotated=bool(count))
    return None


def document(run: CheckRun, known: Known | None) -> dict[str, Any]:
    """What is said, to one that is known or to make one."""
    concluded = run.state in CONCLUSIONS
    said: dict[str, Any] = {
        "name": run.name,
        "external_id": run.external_id,
        "status": "completed" if concluded else run.state,
        "output": {"title": run.title, "summary": run.summary},
    }
    if known is None:
        said["head_sha"] = run.sha
    if run.url:
        said["details_url"] = run.url
    if run.started_at is not None:
        said["started_at"] = run.started_at
    if concluded:
        said["conclusion"] = run.state
        if run.finished_at is not None:
            said["completed_at"] = run.finished_at
    if run.annotations and not (known and known.annotated):
        said["output"]["annotations"] = [_annotation(each) for each in run.annotations[:ANNOTATIONS_MAX]]
    return said


def path_of(run: CheckRun, known: Known | None) -> tuple[str, str]:
    """The method and the path that say it."""
    runs = f"/repos/{quote(run.project)}/check-runs"
    return ("POST", runs) if known is None else ("PATCH", f"{runs}/{known.id}")


def _annotation(found: Annotation) -> dict[str, Any]:
    return {
        "path": found.path, "start_line": found.line, "end_line": found.line, "annotation_level": "failure",
        "title": found.title, "message": found.message,
    }  # fmt: skip
