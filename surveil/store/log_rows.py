"""Rows: a log as people look at it, without reading more of it than is looked at.

What belongs here: where rows begin, pages of them from any byte on or before it, and counting lines for whoever asks
by number. What does not: which log (`logs`), how rows are drawn, who waits (`surveil.web.lines`).

A row is a line, or a part of one that is very long: a line that has none of its ends in a whole block of `CUT_BYTES`
is cut after that block, at the next whole character. So where rows begin follows from the few bytes before, from
whichever side one comes, and a line of a gigabyte is as cheap to look at as a short one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from re import compile as compiled
from typing import Final

from surveil.frozen import dataclass
from surveil.store.log_live import LogSlice

CUT_BYTES: Final = 16 * 1024
PAGE_BYTES: Final = 256 * 1024
"""A page of rows has at most about so many bytes, and reaches at least one row."""
_FIRST_BYTES: Final = 32 * 1024
"""So many are looked at first, as most rows are short."""
_NEAR_BYTES: Final = 1024
"""So many before a place are looked at first for the beginning of its row."""
ROWS_MAX: Final = 1000
STRIDE_BYTES: Final = 256 * 1024
"""The index remembers how many lines end before every so many bytes: 32 KiB of memory for a gigabyte of log."""
_STEP_BYTES: Final = 1024 * 1024
_CONTINUES_MAX: Final = 3
_LINE_END: Final = compiled(b"\n")

Read = Callable[[int, int], LogSlice]
"""At most so many bytes of one log, from a byte on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Bytes `at` and on of a log, its line's end included. It `begins` a line or goes on with one; an `open` one may
    still grow.
    """

    at: int
    data: bytes
    begins: bool
    open: bool

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.at + len(self.data)

    @property
    def text(self) -> str:
        """What it says, without its line's end; bytes that are no text are shown as such."""
        return self.data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows that follow each other in a log that is `length` bytes long by now; of `damaged` ones not all bytes are
    what was written.
    """

    rows: tuple[Row, ...]
    length: int
    damaged: bool


def split(data: bytes, at: int, *, begins: bool) -> Iterator[Row]:
    """The rows of bytes whose first one is byte `at` of the log and begins a row; only the last can be open."""
    start = 0
    while start < len(data):
        stop = _row_end(data, at, start, begins=begins)
        ends = data[stop - 1 : stop] == b"\n"
        yield Row(at=at + start, data=data[start:stop], begins=begins, open=stop == len(data) and not ends)
        start, begins = stop, ends


def _row_end(data: bytes, at: int, start: int, *, begins: bool) -> int:
    """Where the row that begins at `start` ends; at the end of what there is, where that is not known yet."""
    # A row that goes on with a line begins where the block before it ended, or a few bytes later.
    block = -(-(at + start) // CUT_BYTES) if begins else (at + start) // CUT_BYTES
    cut = (block + 1) * CUT_BYTES - at
    newline = data.find(b"\n", start, cut)
    if newline >= 0:
        return newline + 1
    if len(data) <= cut + _CONTINUES_MAX:
        newline = data.find(b"\n", cut)
        return len(data) if newline < 0 else newline + 1
    return cut + _continuing(data, cut)


def _continuing(data: bytes, at: int) -> int:
    """How many bytes from `at` on belong to the character before (UTF-8: 10xxxxxx)."""
    count = 0
    while count < _CONTINUES_MAX and data[at + count] & 0xC0 == 0x80:  # noqa: PLR2004
        count += 1
    return count


def rows_from(read: Read, at: int, limit: int) -> Page:
    """At most `limit` rows, the first of them the one with byte `at`."""
    start, begins = _known_start(read, at)
    most = _FIRST_BYTES
    while True:
        found = read(start, at - start + most)
        rows = [row for row in split(found.data, start, begins=begins) if row.end > at]
        is_all = start + len(found.data) >= found.length
        if rows and not is_all:
            rows.pop()  # Its end was not read.
        if len(rows) >= limit or is_all or most >= PAGE_BYTES:
            break
        most = min(2 * most, PAGE_BYTES)
    return Page(rows=tuple(rows[:limit]), length=found.length, damaged=found.damaged)


def rows_before(read: Read, before: int | None, limit: int) -> Page:
    """At most `limit` rows, the last of them the one before byte `before`, or the last of all."""
    length = read(0, 0).length
    stop = length if before is None else min(before, length)
    most = _FIRST_BYTES
    while True:
        start, begins = _known_start(read, max(0, stop - most))
        # A few bytes more tell whether a row that is very long ends there.
        found = read(start, stop - start + _CONTINUES_MAX + 1)
        rows = [row for row in split(found.data, start, begins=begins) if row.at < stop]
        if len(rows) >= limit or start == 0 or most >= PAGE_BYTES:
            break
        most = min(2 * most, PAGE_BYTES)
    # Not as long as it is by now: the last row would then be none, and nobody would follow from there.
    return Page(rows=tuple(rows[max(0, len(rows) - limit) :]), length=length, damaged=found.damaged)


def _known_start(read: Read, at: int) -> tuple[int, bool]:
    """A place near byte `at` and not after it where a row begins, and whether it begins a line."""
    least = max(0, (at // CUT_BYTES - 2) * CUT_BYTES)
    near = max(least, at - _NEAR_BYTES)
    found = read(near, at - near)
    if at > found.length:
        return _known_start(read, found.length)
    if near > least and b"\n" not in found.data:
        near = least
        found = read(near, at - near)
    newline = found.data.rfind(b"\n")
    if newline >= 0:
        return near + newline + 1, True
    if least == 0:
        return 0, True
    return least + CUT_BYTES + _continuing(found.data, CUT_BYTES), False


class LineIndex:
    """How many lines end before which byte of one log, counted once from its beginning."""

    def __init__(self) -> None:
        self._before = array("Q", [0])

    @property
    def counted(self) -> int:
        """So many bytes from the beginning were looked at."""
        return (len(self._before) - 1) * STRIDE_BYTES

    def extend(self, read: Read, most: int) -> bool:
        """Count on, at most about `most` bytes; returns whether it knows all there is but the last stride."""
        until = self.counted + most
        while self.counted < until:
            data = read(self.counted, _STEP_BYTES).data
            whole = len(data) // STRIDE_BYTES
            for part in range(whole):
                lines = data.count(b"\n", part * STRIDE_BYTES, (part + 1) * STRIDE_BYTES)
                self._before.append(self._before[-1] + lines)
            if len(data) < _STEP_BYTES:
                return True
        return False

    def lines_before(self, read: Read, at: int) -> int | None:
        """How many lines end before byte `at`; None where it has not counted so far."""
        stride = at // STRIDE_BYTES
        if stride >= len(self._before):
            return None
        start = stride * STRIDE_BYTES
        return self._before[stride] + read(start, at - start).data.count(b"\n")

    def start_of(self, read: Read, line: int) -> int | None:
        """The first byte of line `line`, counted from 1; None where there is none, or it has not counted so far."""
        ends = line - 1
        if ends == 0:
            return 0
        stride = bisect_left(self._before, ends) - 1
        start = stride * STRIDE_BYTES
        found = _LINE_END.finditer(read(start, STRIDE_BYTES).data)
        last = next(islice(found, ends - self._before[stride] - 1, None), None)
        return None if last is None else start + last.end()
