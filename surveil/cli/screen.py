"""What goes to the screen: tables, one document, lines of a stream; and how it looks on a terminal.

What belongs here: output that several commands share. What does not: what a job printed (`terminal`), and what any
command wants to say.

Data goes to stdout, everything else to stderr. Tables are drawn by rich on a terminal and are aligned text elsewhere.
Texts of strangers pass through `printable`, so that no commit message can move the cursor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import click

from surveil.core.spelling import printable

STYLES: Final[Mapping[str, str]] = {
    "passed": "green",
    "failed": "red",
    "errored": "magenta",
    "cancelled": "yellow",
    "skipped": "bright_black",
    "running": "cyan",
    "queued": "blue",
    "blocked": "bright_black",
    "held": "yellow",
    "lost": "magenta",
    "online": "green",
    "suspect": "yellow",
    "offline": "red",
    "draining": "yellow",
    "cordoned": "yellow",
    "ok": "green",
    "weak": "yellow",
    "broken": "red",
}
"""The colour of each state's word; a word that is not here has none."""


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at this stream through a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colourful(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR is set to anything."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def print_json(document: Any) -> None:
    """One document on stdout. Characters beyond ASCII are escaped: whatever they are, they do nothing to a terminal."""
    click.echo(json.dumps(document, indent=2))


def print_json_line(document: Any) -> None:
    """One line of a stream of documents, at once."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """One line of data for people on stdout, at once."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def tell(text: str, state: str = "") -> None:
    """One line of progress on stderr, in the colour of `state`."""
    line = printable(text)
    click.echo(click.style(line, fg=STYLES.get(state)) if state and colourful(sys.stderr) else line, err=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the words for states have their colours on a terminal."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _print_rich(headers, clean)
        return
    widths = [max(len(row[at]) for row in [headers, *clean]) for at in range(len(headers))]
    head = [[header.upper() for header in headers]] if any(headers) else []
    for row in [*head, *clean]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values, one a line; what has no value is left out."""
    shown = [(name, printable(value)) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        word = click.style(value, fg=STYLES[value]) if value in STYLES and colourful(sys.stdout) else value
        click.echo(f"{name.ljust(width)}  {word}")


def age(at: str | None, now: datetime | None = None) -> str:
    """How long ago, in one unit: `8 s`, `3 min`, `5 h`, `12 d`. A time of another machine's clock that lies ahead is
    `0 s`.
    """
    if at is None:
        return ""
    ago_ms = int(((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds() * 1000)
    return span(max(0, ago_ms), coarse=True)


def took(started_at: str | None, finished_at: str | None) -> str:
    """How long something took, or has been going on."""
    if started_at is None:
        return ""
    end = datetime.fromisoformat(finished_at) if finished_at else datetime.now(UTC)
    return span(max(0, int((end - datetime.fromisoformat(started_at)).total_seconds() * 1000)))


def span(duration_ms: int, *, coarse: bool = False) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`; `coarse` shows one whole unit."""
    seconds = duration_ms // 1000
    if seconds < 10 and not coarse:  # noqa: PLR2004  # tenths matter only where few seconds do
        return f"{duration_ms // 100 / 10:.1f} s"
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest and not coarse else "")
    return f"{seconds} s"


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headers))
    for at, header in enumerate(headers):
        last = at == len(headers) - 1
        table.add_column(header, overflow="ellipsis" if last else "fold", no_wrap=not last)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console(highlight=False, no_color=not colourful(sys.stdout)).print(table)
