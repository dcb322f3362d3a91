"""Reads JUnit XML, in the dialects that test runners write, as a stream.

What belongs here: elements and what they mean. What does not: encodings (`decoding`), files (`finding`), and how much
of it all is kept (`gathering`). Pure.

There is no one format. What all dialects share is that a `testcase` has a name, and that a `failure`, `error` or
`skipped` in it says how it ended; everything else is taken where it is there. No tree is built: memory is bounded
whatever the file holds. Entities are refused wherever somebody declares one, and none is ever read from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias
from xml.parsers import expat

from surveil.core.states import WRONG
from surveil.insight import (
    DURATION_MS_MAX,
    MESSAGE_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    OUTPUT_CHARACTERS_MAX,
    Problem,
    first_line,
)
from surveil.insight.decoding import XmlText
from surveil.protocol import Case, CaseState

DEPTH_MAX: Final = 100
"""Suites in suites, and whatever else somebody nests."""
PIECE_CHARACTERS: Final = 64 * 1024
TAG_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one tag with its attributes: expat before 2.6 looks at one that is not whole from its beginning at each piece."""
_ROOTS: Final = frozenset({"testsuites", "testsuite", "testcase"})
_ENDS: Final[dict[str, CaseState]] = {
    "failure": "failed", "error": "errored", "skipped": "skipped", "disabled": "skipped", "ignored": "skipped",
}  # fmt: skip
_WORST: Final = ("errored", "failed", "skipped", "passed")
_TRIES: Final = frozenset({"flakyFailure", "flakyError"})
"""What Surefire and nextest write of a test that passed in a later try."""
_OUTPUTS: Final = frozenset({"system-out", "system-err"})
_NO_NAMES: Final = frozenset({"undefined", "(empty)"})
"""What a suite without a name is called by those who write it in JavaScript, and by CTest."""
_FAILED: Final = "Failed"
_FRAMES: Final = ("=== ", "--- ")
"""How the lines of `go test` begin that frame what a test said; its reports call every failure `Failed`."""
_NOT_RUN: Final = frozenset({"notrun", "disabled", "skipped"})
"""The words of CTest and GoogleTest for a case that they only list."""

Found: TypeAlias = Case | Problem


def read_junit(pieces: Iterable[bytes]) -> Iterator[Found]:
    """The cases of a report, and what is wrong with it. What stands before a mistake is read all the same."""
    text = XmlText()
    document = _Document()
    try:
        for piece in pieces:
            yield from document.feed(text.feed(piece))
        yield from document.feed(text.feed(b"", last=True), last=True)
    except expat.ExpatError as error:
        yield from document.take()
        yield _problem_of(error, document)
    except _RefusedError as error:
        yield from document.take()
        yield Problem(error.sentence, document.line, foreign=error.foreign)
    for sentence in text.wrong:
        yield Problem(sentence)


class _RefusedError(Exception):
    """The document is not read further; the sentence says why."""

    def __init__(self, sentence: str, *, foreign: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.foreign = foreign


def _problem_of(error: expat.ExpatError, document: _Document) -> Problem:
    if not document.begun:
        # Whatever it is, it never was XML of ours.
        return Problem(f"it is no XML ({expat.ErrorString(error.code)})", error.lineno, foreign=True)
    if error.code in {expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS], _UNCLOSED, _UNCLOSED_CDATA, _PARTIAL}:
        return Problem("it ends in the middle, as if whoever wrote it was ended; what stands before was read",
                       error.lineno)  # fmt: skip
    return Problem(
        f"it is no XML from here on ({expat.ErrorString(error.code)}); what stands before was read", error.lineno
    )


_UNCLOSED: Final = expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN]
_UNCLOSED_CDATA: Final = expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION]
_PARTIAL: Final = expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR]


class _Kept:
    """The beginning of a text that comes in pieces."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = OUTPUT_CHARACTERS_MAX

    def add(self, text: str) -> None:
        if self._room > 0:
            self._parts.append(text[: self._room])
            self._room -= len(text)

    def __str__(self) -> str:
        return "".join(self._parts).strip()


class _Open:
    """A `testcase` that has not ended yet."""

    def __init__(self, attributes: dict[str, str], suite: str) -> None:
        name = attributes.get("name", "").strip() or "a test without a name"
        group = attributes.get("classname", "").strip()
        # Where the class is only the name again, as CTest and Jest have it, the suite says more.
        self.suite = suite if not group or group == name else group
        self.name = name
        self.duration_ms = _milliseconds(attributes.get("time", ""))
        status = attributes.get("status", "").lower()
        self.state: CaseState = "skipped" if status in _NOT_RUN else "passed"
        self.message = ""
        self.kind = ""
        self.expected = False
        """Somebody said beforehand that it would fail."""
        self.text = _Kept()
        self.printed = _Kept()
        self.tries = 0

    def ended(self, state: CaseState, attributes: dict[str, str]) -> None:
        """One of its children says how it ended; the worst word counts, and its message."""
        kind, message = attributes.get("type", ""), _telling(attributes.get("message", ""))
        self.expected |= state == "skipped" and kind == "todo"
        if _WORST.index(state) < _WORST.index(self.state) or (state == self.state and not self.message):
            self.state, self.message, self.kind = state, message, kind

    def case(self) -> Case:
        text = str(self.text)
        said = "" if self.message == _FAILED else self.message
        message = said or _telling(text) or self.message or first_line(self.kind)
        if self.expected:
            self.state = "skipped"
        output = ""
        if self.state in WRONG:
            output = "\n".join(filter(None, (text, str(self.printed))))
        elif self.state == "passed":
            message = f"passed after {self.tries} failed tries" if self.tries else ""
        return Case(
            suite=self.suite[:NAME_CHARACTERS_MAX],
            name=self.name[:NAME_CHARACTERS_MAX],
            state=self.state,
            duration_ms=self.duration_ms,
            message=message[:MESSAGE_CHARACTERS_MAX],
            output=output[:OUTPUT_CHARACTERS_MAX],
        )


class _Document:
    """What has been read of a document, and the cases that came out of it since the last look."""

    def __init__(self) -> None:
        # Our own text is in UTF-8, whatever the file was.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._found: list[Found] = []
        self._open: _Open | None = None
        self._suites: list[str] = []
        self._tags: list[str] = []
        self._into: _Kept | None = None
        self._fed = 0
        self.begun = False

    @property
    def line(self) -> int:
        """Where the reading is."""
        return self._parser.CurrentLineNumber

    def feed(self, text: str, *, last: bool = False) -> list[Found]:
        """Read on. Raises ExpatError and _RefusedError."""
        for at in range(0, len(text), PIECE_CHARACTERS):
            piece = text[at : at + PIECE_CHARACTERS].encode()
            self._fed += len(piece)
            self._parser.Parse(piece, False)
            if self._fed - self._parser.CurrentByteIndex > TAG_BYTES_MAX:
                raise _RefusedError(
                    f"it holds a tag of more than {TAG_BYTES_MAX // 1024**2} MiB; it was not read further"
                )
        if last:
            self._parser.Parse(b"", True)
        return self.take()

    def take(self) -> list[Found]:
        """What was found since the last look."""
        found, self._found = self._found, []
        return found

    # ---- what expat calls ----

    def _entity(self, name: str, *_: object) -> None:
        raise _RefusedError(f"it declares the entity `{name[:60]}`, which no report needs; it was not read further")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if not self._tags and tag not in _ROOTS:
            raise _RefusedError(f"it is no JUnit report: its outermost element is `{tag[:60]}`", foreign=True)
        self.begun = True
        if len(self._tags) >= DEPTH_MAX:
            raise _RefusedError(f"its elements are nested deeper than {DEPTH_MAX}; it was not read further")
        self._tags.append(tag)
        if self._open is not None:
            self._inside(self._open, tag, attributes)
        elif tag == "testcase":
            self._open = _Open(attributes, self._suites[-1] if self._suites else "")
        elif tag == "testsuite":
            name = attributes.get("name", "").strip()
            self._suites.append("" if name in _NO_NAMES else name)

    def _inside(self, case: _Open, tag: str, attributes: dict[str, str]) -> None:
        state = _ENDS.get(tag)
        if state is not None:
            case.ended(state, attributes)
            self._into = case.text
        elif tag in _TRIES:
            case.tries += 1
        elif tag in _OUTPUTS and self._tags[-2:-1] == ["testcase"]:
            case.printed.add("\n")
            self._into = case.printed

    def _characters(self, text: str) -> None:
        if self._into is not None:
            self._into.add(text)

    def _end(self, _tag: str) -> None:
        tag = self._tags.pop()
        if tag in _ENDS or tag in _OUTPUTS:
            self._into = None
        elif tag == "testcase" and self._open is not None and "testcase" not in self._tags:
            self._found.append(self._open.case())
            self._open = None
        elif tag == "testsuite" and self._open is None and self._suites:
            self._suites.pop()


def _telling(text: str) -> str:
    """The first line of a text that says what happened."""
    return first_line("\n".join(line for line in text.splitlines() if not line.strip().startswith(_FRAMES)))


def _milliseconds(seconds: str) -> int:
    """`0.012`, `1,234.5` and `0,012` as milliseconds; what is no duration is 0."""
    if "," in seconds:
        seconds = seconds.replace(",", "") if "." in seconds else seconds.replace(",", ".")
    try:
        value = float(seconds)
    except ValueError:
        return 0
    return min(DURATION_MS_MAX, max(0, round(value * 1000))) if math.isfinite(value) else 0
