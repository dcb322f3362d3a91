"""How much of an attempt's reports is kept: all of what is ordinary, and the beginning of what is not.

What belongs here: counting, limits, and parts of a size that fits a message. What does not: reading (`junit`, `tap`),
files (`finding`), and messages. Pure.

Everything is counted. What went wrong is kept before what went well, because that is what people come for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from surveil.core.states import WRONG
from surveil.frozen import replace
from surveil.insight import DURATION_MS_MAX, Problem
from surveil.protocol import CASES_MAX, PRINTED_MAX, PROBLEMS_MAX, Case, Tally

KEPT_MAX: Final = 50_000
"""Results of one attempt that are kept one by one, however they are."""
WRONG_KEPT_MAX: Final = 10_000
"""So many more that went wrong."""
PART_CHARACTERS: Final = 120_000
"""A message has 1 MiB, and a character up to four bytes."""
_ROW_CHARACTERS: Final = 60
_PROBLEM_CHARACTERS_MAX: Final = 500


class Gathering:
    """Takes cases one after another, and gives them out in parts; `tally` says what they were in all."""

    def __init__(self) -> None:
        self._counts = {"passed": 0, "failed": 0, "errored": 0, "skipped": 0}
        self._duration_ms = 0
        self._problems: list[str] = []
        self._part: list[Case] = []
        self._part_characters = 0
        self._kept = 0
        self._wrong_kept = 0
        self._output_left = PRINTED_MAX

    @property
    def count(self) -> int:
        """How many cases there were."""
        return sum(self._counts.values())

    def take(self, case: Case) -> Iterator[list[Case]]:
        """Count a case, and give out the part that it no longer fits into."""
        self._counts[case.state] += 1
        self._duration_ms = min(DURATION_MS_MAX, self._duration_ms + case.duration_ms)
        if not self._is_kept(case):
            return
        if len(case.output) > self._output_left:
            case = replace(case, output="")
        self._output_left -= len(case.output)
        characters = len(case.suite) + len(case.name) + len(case.message) + len(case.output) + _ROW_CHARACTERS
        if self._part and (self._part_characters + characters > PART_CHARACTERS or len(self._part) >= CASES_MAX):
            yield self.rest()
        self._part.append(case)
        self._part_characters += characters

    def _is_kept(self, case: Case) -> bool:
        if self._kept < KEPT_MAX:
            self._kept += 1
            return True
        if case.state in WRONG and self._wrong_kept < WRONG_KEPT_MAX:
            self._wrong_kept += 1
            return True
        return False

    def rest(self) -> list[Case]:
        """What has not been given out yet."""
        part, self._part, self._part_characters = self._part, [], 0
        return part

    def complain(self, path: str, problem: Problem) -> None:
        """Note what is wrong with a report."""
        where = path if problem.line is None else f"{path}:{problem.line}"
        self.say(f"{where}: {problem.sentence}")

    def say(self, sentence: str) -> None:
        """Note a sentence, once, as long as there is room."""
        sentence = sentence[:_PROBLEM_CHARACTERS_MAX]
        if len(self._problems) < PROBLEMS_MAX - 1 and sentence not in self._problems:
            self._problems.append(sentence)

    def tally(self) -> Tally:
        """What there was in all."""
        kept = self._kept + self._wrong_kept
        beyond = [f"of {self.count} test results {kept} are kept, which is the limit"] if kept < self.count else []
        return Tally(
            passed=self._counts["passed"], failed=self._counts["failed"], errored=self._counts["errored"],
            skipped=self._counts["skipped"], duration_ms=self._duration_ms, problems=(*self._problems, *beyond),
        )  # fmt: skip
