"""Reads TAP, versions 12 to 14, as a stream: `ok 1 - adds up`, `not ok 2 # todo`, plans, diagnostics and subtests.

What belongs here: lines and what they mean. What does not: files (`finding`), and how much of it is kept
(`gathering`). Pure.

A subtest stands before the line that sums it up; its tests are what is counted, and the line above them only where it
failed by itself. Lines that are not TAP are what the tests printed, and mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from surveil.core.states import WRONG
from surveil.insight import (
    DURATION_MS_MAX,
    MESSAGE_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    OUTPUT_CHARACTERS_MAX,
    Problem,
    first_line,
)
from surveil.insight.decoding import REPLACEMENT
from surveil.protocol import Case, CaseState

LINE_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 50
_INDENT: Final = 4
_YAML_INDENT: Final = 2

_VERSION: Final = re.compile(r"TAP version \d{1,4}$", re.IGNORECASE)
_PLAN: Final = re.compile(r"1\.\.(\d{1,9})(?:\s*#\s*(.*))?$")
_POINT: Final = re.compile(r"(not )?ok\b\s*(\d{1,9})?\s*(.*)$")
_DIRECTIVE: Final = re.compile(r"(?<!\\)#\s*(skip|todo)\S*\s*(.*)$", re.IGNORECASE)
_TIME: Final = re.compile(r"(?<!\\)#\s*time=([0-9.]{1,20})(ms|s)\b")
_SUBTEST: Final = re.compile(r"# Subtest(?:: (.*))?$")
_DURATION: Final = re.compile(r"\s*duration_ms:\s*([0-9.]{1,20})\s*$")
_MESSAGE: Final = re.compile(r"\s*(?:message|error):\s*['\"]?(.+?)['\"]?\s*$")

Found: TypeAlias = Case | Problem


def read_tap(pieces: Iterable[bytes]) -> Iterator[Found]:
    """The cases of a stream of TAP, and what is wrong with it."""
    reader = _Reader()
    for line in _lines(pieces):
        yield from reader.read(line)
        if reader.over:
            break
    yield from reader.finish()


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines of text, each cut to what may be meant."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield _text(line)
        rest = rest[:LINE_BYTES_MAX]
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line[:LINE_BYTES_MAX].decode(errors="replace").rstrip("\r").replace("\0", REPLACEMENT)


@dataclass(slots=True)
class _Level:
    """One stream: the whole file, or a subtest in it."""

    name: str = ""
    planned: int | None = None
    seen: int = 0
    wrong: int = 0
    """Cases that failed here or below."""


@dataclass(slots=True)
class _Point:
    """A test that was read, and whose diagnostics may follow."""

    depth: int
    suite: str
    name: str
    state: CaseState
    message: str = ""
    duration_ms: int = 0
    output: list[str] = field(default_factory=list)
    room: int = OUTPUT_CHARACTERS_MAX

    def case(self) -> Case:
        wrong = self.state in WRONG
        output = "\n".join(self.output)[:OUTPUT_CHARACTERS_MAX] if wrong else ""
        return Case(
            suite=self.suite[:NAME_CHARACTERS_MAX],
            name=self.name[:NAME_CHARACTERS_MAX],
            state=self.state,
            duration_ms=self.duration_ms,
            message=(self.message or (first_line(output) if wrong else ""))[:MESSAGE_CHARACTERS_MAX],
            output=output,
        )


class _Reader:
    def __init__(self) -> None:
        self._levels = [_Level()]
        self._announced: dict[int, str] = {}
        self._point: _Point | None = None
        self._yaml: int | None = None
        """How far the diagnostics are indented that are being read."""
        self._number = 0
        self._known = False
        self.over = False

    def read(self, line: str) -> Iterator[Found]:
        """Take one line."""
        self._number += 1
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        if self._yaml is not None:
            self._diagnose(line, bare, indent)
            return
        depth, odd = divmod(indent, _INDENT)
        if odd == _YAML_INDENT and bare == "---" and self._point is not None and self._point.depth == depth:
            self._yaml = indent
        elif not odd and depth < DEPTH_MAX:
            yield from self._said(depth, bare)

    def _said(self, depth: int, text: str) -> Iterator[Found]:
        if (announced := _SUBTEST.match(text)) is not None:
            # Some announce it as deep as its tests stand, some as deep as the line that sums it up, and some announce
            # every test.
            self._announced[depth] = (announced[1] or "").strip()
            return
        if text.startswith("Bail out!"):
            yield from self._settle()
            reason = text.removeprefix("Bail out!").strip()
            yield Case(
                suite=self._suite(len(self._levels) - 1), name="Bail out!", state="errored", duration_ms=0,
                message=reason[:MESSAGE_CHARACTERS_MAX],
            )  # fmt: skip
            self._known = self.over = True
        elif (plan := _PLAN.match(text)) is not None:
            yield from self._reach(depth)
            self._levels[depth].planned = int(plan[1])
            self._known = True
        elif (point := _POINT.match(text)) is not None:
            yield from self._reached(depth, point)
        elif _VERSION.match(text):
            self._known = True

    def _reach(self, depth: int) -> Iterator[Found]:
        """Come to the level at which a line stands: deeper ones have ended, and one more may begin."""
        yield from self._settle()
        while len(self._levels) - 1 < depth:
            deeper = len(self._levels)
            named = self._announced.pop(deeper - 1, None) or self._announced.pop(deeper, "")
            self._levels.append(_Level(name=named))

    def _reached(self, depth: int, point: re.Match[str]) -> Iterator[Found]:
        self._known = True
        yield from self._reach(depth)
        below: _Level | None = None
        while len(self._levels) - 1 > depth:
            below = self._levels.pop()
            if below.planned is not None and below.seen != below.planned:
                yield self._missed(below)
            self._levels[-1].wrong += below.wrong
        self._announced = {at: name for at, name in self._announced.items() if at < depth}
        level = self._levels[depth]
        level.seen += 1
        made = _point(depth, self._suite(depth), point)
        if below is not None and below.seen and (made.state == "passed" or below.wrong):
            return  # Its tests were counted, one by one.
        level.wrong += made.state in WRONG
        self._point = made

    def _suite(self, depth: int) -> str:
        return " > ".join(level.name for level in self._levels[1 : depth + 1] if level.name)

    def _diagnose(self, line: str, bare: str, indent: int) -> None:
        assert self._yaml is not None, "it is being read"
        assert self._point is not None, "diagnostics follow a test"
        point = self._point
        if bare == "..." and indent == self._yaml:
            self._yaml = None
        elif (duration := _DURATION.match(line)) is not None and indent == self._yaml:
            point.duration_ms = _milliseconds(duration[1], 1)
        else:
            if (message := _MESSAGE.match(line)) is not None and indent == self._yaml and not point.message:
                point.message = "" if message[1] in {"|", "|-", ">", ">-"} else message[1]
            if point.room > 0:
                point.output.append(line[self._yaml :])
                point.room -= len(line)

    def _settle(self) -> Iterator[Found]:
        """Give out the test whose diagnostics can follow no more."""
        if self._point is not None:
            yield self._point.case()
        self._point = self._yaml = None

    def _missed(self, level: _Level) -> Problem:
        where = f" of `{level.name[:60]}`" if level.name else ""
        return Problem(f"the plan{where} has {level.planned} tests, and {level.seen} were run", self._number)

    def finish(self) -> Iterator[Found]:
        """What is left to say at the end."""
        yield from self._settle()
        if not self._known:
            yield Problem("it is no TAP: it has neither a plan nor a test", foreign=True)
            return
        if self.over:
            return
        for level in reversed(self._levels):
            if level.planned is not None and level.seen != level.planned:
                yield self._missed(level)
        if self._levels[0].planned is None:
            yield Problem("it has no plan, as if whoever wrote it was ended; what is there was read")


def _point(depth: int, suite: str, point: re.Match[str]) -> _Point:
    text = point[3]
    duration_ms = 0
    if (time := _TIME.search(text)) is not None:
        duration_ms = _milliseconds(time[1], 1 if time[2] == "ms" else 1000)
        text = text[: time.start()].rstrip()
    state: CaseState = "failed" if point[1] else "passed"
    message = ""
    if (directive := _DIRECTIVE.search(text)) is not None:
        text, message = text[: directive.start()], directive[2].strip()
        # What is still to be done may fail; that it does not is told by passing.
        if directive[1].upper() == "SKIP" or point[1]:
            state = "skipped"
    name = text.strip().removeprefix("-").strip().replace("\\#", "#")
    return _Point(
        depth=depth, suite=suite, name=name or f"test {point[2] or 'without a number'}", state=state, message=message,
        duration_ms=duration_ms,
    )  # fmt: skip


def _milliseconds(number: str, factor: int) -> int:
    try:
        return min(DURATION_MS_MAX, round(float(number) * factor))
    except ValueError:
        return 0
