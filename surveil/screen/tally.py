"""How many tests there were, as far as what the steps print says so in words that everybody knows.

What belongs here: recognising the closing lines of common test runners. What does not: any verdict, which is the exit
code's alone; this is a help for people, and a job may print what it likes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

LINE_BYTES_MAX: Final = 4096
"""A longer line is no closing line."""

_COLOUR: Final = re.compile(rb"\x1b\[[0-9;:]{0,64}m")
_COUNT: Final = re.compile(rb"(\d{1,9}) (passed|failed|errors?|skipped|ignored)\b")
_PYTEST: Final = re.compile(rb"=*\s*(?:\d{1,9} [a-z]+(?:, )?)+ in [0-9.]+s\b")
_UNITTEST: Final = re.compile(rb"Ran (\d{1,9}) tests? in [0-9.]+s")
_UNITTEST_END: Final = re.compile(rb"(?:OK|FAILED)(?: \(([a-z ]+=\d{1,9}(?:, [a-z ]+=\d{1,9})*)\))?")
_CARGO: Final = re.compile(rb"test result: (?:ok|FAILED)\. (.*)")
_JEST: Final = re.compile(rb"\s*Tests:?\s+(\d.*)")
_TAP: Final = re.compile(rb"(?:#|\xe2\x84\xb9) (pass|fail) (\d{1,9})")
_GO: Final = re.compile(rb"--- (PASS|FAIL|SKIP): ")
_GO_STATES: Final = {b"PASS": "passed", b"FAIL": "failed", b"SKIP": "skipped"}


class Tally:
    """Counts the tests of one attempt in the bytes of its output."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._held = b""
        self._ran = 0

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *lines, self._held = (self._held + data).split(b"\n")
        self._held = self._held[-LINE_BYTES_MAX:]
        for line in lines:
            if len(line) < LINE_BYTES_MAX:
                self._take(_COLOUR.sub(b"", line).rstrip())

    def finish(self) -> None:
        """A last line without an end counts as well."""
        self.feed(b"\n")

    def words(self) -> str:
        """`12 tests passed`, `11 of 12 tests passed, 1 failed`; empty where nothing was recognised."""
        passed, failed = self._counts["passed"], self._counts["failed"]
        ran = passed + failed
        if not ran:
            return ""
        tests = "test" if ran == 1 else "tests"
        skipped = f", {self._counts['skipped']} skipped" if self._counts["skipped"] else ""
        return (
            f"{passed} of {ran} {tests} passed, {failed} failed" if failed else f"{passed} {tests} passed"
        ) + skipped

    def add(self, other: Tally) -> None:
        """Count the other's tests as well."""
        self._counts.update(other._counts)

    def _take(self, line: bytes) -> None:
        if _PYTEST.match(line):
            self._add(line)
        elif found := _UNITTEST.fullmatch(line):
            self._ran = int(found[1])
        elif self._ran and (found := _UNITTEST_END.fullmatch(line)):
            self._take_unittest(found[1] or b"")
        elif found := _CARGO.match(line) or _JEST.fullmatch(line):
            self._add(found[1])
        elif found := _TAP.fullmatch(line):
            self._counts["passed" if found[1] == b"pass" else "failed"] += int(found[2])
        elif found := _GO.match(line):
            self._counts[_GO_STATES[found[1]]] += 1

    def _add(self, words: bytes) -> None:
        for number, state in _COUNT.findall(words):
            name = {b"passed": "passed", b"skipped": "skipped", b"ignored": "skipped"}.get(state, "failed")
            self._counts[name] += int(number)

    def _take_unittest(self, notes: bytes) -> None:
        known = dict(part.rsplit(b"=", 1) for part in notes.split(b", ") if part)
        failed = sum(int(known.get(name, 0)) for name in (b"failures", b"errors", b"unexpected successes"))
        skipped = int(known.get(b"skipped", 0))
        self._counts.update(passed=max(0, self._ran - failed - skipped), failed=failed, skipped=skipped)
        self._ran = 0


def total(tallies: Iterable[Tally]) -> Tally:
    """The tests of several attempts together."""
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
