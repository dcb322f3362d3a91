"""The lines of a story as people read them: the time of day, how long after the first one, and the sentence.

What belongs here: columns and colours. What does not: the sentences themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from surveil.screen.words import span

_STATES: Final[Mapping[str, str]] = {"fenced": "lost", "refused": "weak", "runner": "weak", "dispatcher": "weak"}
"""The kinds of lines that have the colour of another word."""


def story_lines(lines: Sequence[Mapping[str, Any]], *, several: bool) -> Iterator[tuple[str, str]]:
    """Each line with the word whose colour it has. Where the story is of `several` jobs, each line names its job."""
    shown = [(_time(line["at"]), f"+{span(max(0, line['after_ms']))}", line) for line in lines]
    at_width = max((len(at) for at, _, _ in shown), default=0)
    after_width = max((len(after) for _, after, _ in shown), default=0)
    last_day = ""
    for (at, after, line), day in zip(shown, (_day(line["at"]) for line in lines), strict=True):
        if day != last_day and (last_day or day != _today()):
            yield day, "heading"
        last_day = day
        name = f"{line['job'].partition('/')[2]}: " if several and line["job"] else ""
        yield f"{at:<{at_width}}  {after:>{after_width}}  {name}{line['text']}", _STATES.get(line["what"], line["what"])


def _time(at: str) -> str:
    """The time of day on this machine's clock, to the thousandth: what belongs together is often closer than a
    second.
    """
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().date().isoformat()


def _today() -> str:
    return datetime.now(UTC).astimezone().date().isoformat()
