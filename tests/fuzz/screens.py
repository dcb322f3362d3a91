"""What strangers' texts may do to a terminal: colours, and nothing else, wherever the pieces are cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from surveil.core.spelling import printable
from surveil.screen.table import Column, cells, fitted_lines, folded, plain_lines, shortened
from surveil.screen.terminal import SafeOutput
from tests.fuzz.draw import Draw

COLOUR: Final = re.compile(r"\x1b\[[0-9;:]{0,64}m")
HARMFUL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
PIECES: Final = (
    b"\x1b", b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX", b"31m", b"0;1m", b"m", b"2J", b"?1049h",
    b"\x07",
    b"\x1b\\", b"]8;;http://x\x1b\\", b"]52;c;", b"\r", b"\r\n", b"\n", b"a", b"\x9b", b"\xc2\x9b", b"\xe2\x80\xae",
    b"\xff",
    b"\xf0\x9f", b"\xf0\x9f\x98\x80", b"\0", b"\x08", b"\x1b(0", b"\x1bc", b" ", b";" * 70, b"x" * 90, b"\xc2\x85",
)  # fmt: skip
COLUMNS: Final = (
    Column(name="id"), Column(name="state", states=True), Column(name="message", least=8, drop=1),
    Column(name="reason", least=10, folds=True, drop=2),
)  # fmt: skip


def check(data: bytes) -> None:
    """Show something."""
    draw = Draw(data)
    if draw.seldom(3):
        _check_table(draw)
        return
    output = draw.rest() if draw.flag() else b"".join(draw.pick(PIECES) for _ in range(draw.byte()))
    whole = _shown([output])
    assert not HARMFUL.search(COLOUR.sub("", whole)), "something that a terminal would obey"
    cuts = sorted(draw.at_most(len(output)) for _ in range(draw.byte() % 5))
    pieces = [output[start:end] for start, end in zip([0, *cuts], [*cuts, len(output)], strict=True)]
    assert _shown(pieces) == whole, "pieces make a difference"


def seeds() -> Iterator[bytes]:
    """Sequences of each kind, as they are and in pieces."""
    for piece in PIECES:
        yield b"\0\1" + b"a" + piece + b"0;mb"
    for start in range(0, 250, 5):
        yield bytes([start % 3, start % 2]) + bytes((start + 23 * step) % 256 for step in range(60))


def _shown(pieces: list[bytes]) -> str:
    safe = SafeOutput()
    return (b"".join(safe.feed(piece) for piece in pieces) + safe.finish()).decode()


def _check_table(draw: Draw) -> None:
    rows = [[printable(draw.text()) for _ in COLUMNS] for _ in range(draw.byte() % 4)]
    width = 1 + draw.byte() % 130
    lines = list(fitted_lines(COLUMNS, rows, width, lambda _column, _text, padded: padded))
    assert all(line.isprintable() for line in lines)
    list(plain_lines(COLUMNS, rows))
    text = printable(draw.text())
    assert cells(shortened(text, width)) <= width
    assert all(cells(line) <= max(width, 2) or "`" in line for line in folded(text, width))
