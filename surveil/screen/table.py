"""Tables in the width that there is: the widest columns are shortened first, the least useful ones are left out next,
and no line runs over, but for a command that would have to be broken.

What belongs here: from cells of text to lines of text. What does not: where they are printed (`printing`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from surveil.frozen import dataclass

GAP: Final = "  "
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
FOLDED_CELLS_MIN: Final = 24
"""A sentence in a narrower column than this reads like a list of words."""

# What is between backticks is to be typed; a line's end in it would be copied with it.
_WORD: Final = re.compile(r"(?:`[^`]*`|\S)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column, and what may be done to it where there is little room.

    It may be shortened to `least` cells, or not at all where that is 0. Columns are left out from the highest `drop`
    on; 0 stays. The text of one that `folds` goes on in the next line instead of being cut. In one of `states` each
    word has its colour.
    """

    name: str
    least: int = 0
    drop: int = 0
    folds: bool = False
    states: bool = False


def cells(text: str) -> int:
    """How wide a text is on a terminal: a Chinese character takes two cells, an accent of its own none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shortened(text: str, width: int) -> str:
    """The text in at most `width` cells, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    while cells(kept) > width - 1:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS if width > 0 else ""


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, broken between words; what stands between backticks stays whole."""
    lines: list[str] = []
    for word in _words(text, width):
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _words(text: str, width: int) -> Iterator[str]:
    for word in _WORD.findall(text):
        if "`" in word or cells(word) <= width:
            yield word
        else:
            # In pieces that fit even if each character takes two cells.
            size = width if word.isascii() else max(1, width // 2)
            yield from (word[at : at + size] for at in range(0, len(word), size))


def plain_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The whole table for a file or a program: nothing is cut, whatever its width."""
    names = [column.name.upper() for column in columns]
    shown = [names, *rows] if any(names) else list(rows)
    widths = [max(len(row[at]) for row in shown) for at in range(len(columns))]
    for row in shown:
        yield GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def fitted_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Callable[[Column, str, str], str]
) -> Iterator[str]:
    """The table for a terminal of `width` cells; `paint` colours a padded cell, given the column and the cell's text.

    Columns in which nothing stands are left out.
    """
    kept = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    natural = {at: max(cells(text) for text in (columns[at].name, *(row[at] for row in rows))) for at in kept}
    widths = _fit(columns, natural, width)
    names = [column.name for column in columns]
    for row in [names, *rows] if any(names) else rows:
        parts = {at: _in_column(columns[at], row[at], widths[at]) for at in widths}
        for line in range(max(map(len, parts.values()), default=0)):
            texts = {at: lines[line] if line < len(lines) else "" for at, lines in parts.items()}
            last = max((at for at, text in texts.items() if text), default=-1)
            yield GAP.join(
                paint(columns[at], names[at] if row is names else row[at], _padded(text, widths[at], last=at == last))
                for at, text in texts.items()
                if at <= last
            )


def _fit(columns: Sequence[Column], natural: dict[int, int], width: int) -> dict[int, int]:
    """The width of each column that is shown."""
    widths = dict(natural)
    while True:
        over = sum(widths.values()) + len(GAP) * (len(widths) - 1) - width
        if over <= 0:
            return widths
        least = {at: min(_least(columns[at]), natural[at]) for at in widths}
        if over <= sum(widths[at] - least[at] for at in widths):
            return _shortened_widest(widths, least, over)
        droppable = [at for at in widths if columns[at].drop]
        if not droppable:
            # Nothing more can be left out: what is last gives way, however little of it remains.
            last = max(widths)
            return {**least, last: max(1, least[last] - (sum(least.values()) + len(GAP) * (len(least) - 1) - width))}
        del widths[max(droppable, key=lambda at: columns[at].drop)]


def _shortened_widest(widths: dict[int, int], least: dict[int, int], over: int) -> dict[int, int]:
    narrower = dict(widths)
    for _ in range(over):
        narrower[max((at for at in narrower if narrower[at] > least[at]), key=lambda at: narrower[at])] -= 1
    return narrower


def _least(column: Column) -> int:
    return column.least or (FOLDED_CELLS_MIN if column.folds else 1_000_000)


def _in_column(column: Column, text: str, width: int) -> list[str]:
    return folded(text, width) if column.folds and text else [shortened(text, width)]


def _padded(text: str, width: int, *, last: bool) -> str:
    return text if last else text + " " * (width - cells(text))
