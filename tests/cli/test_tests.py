"""`tests`: what failed first, what is new, the slowest, and what scripts get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from surveil.answer.cases import CaseAnswers
from surveil.core.model import AttemptState, Status
from surveil.frozen import replace
from surveil.protocol import Case, Tally
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_attempt, make_build, make_job, new

OLD = Case(suite="shapes.Round", name="rolls", state="failed", duration_ms=1, message="it stood", output="line 7\nhere")
NEW = Case(suite="", name="\x1b[2Jflies", state="errored", duration_ms=2, message="no wings")


def fill(counter: Counter) -> None:
    for number in (1, 2):
        build = replace(make_build(number, state=Status.FAILED, jobs=("test", "lint")), mid=str(number))
        jobs = [make_job(number, name=name, position=at) for at, name in enumerate(("test", "lint"))]
        counter.desk.store.commit(new(replace(build, sha=f"{number:040}"), *jobs))
        found = [replace(OLD, name=f"slow {at}", state="passed", duration_ms=at * 700) for at in range(4)]
        wrong = [OLD, NEW] if number == 2 else [OLD]
        tally = Tally(
            passed=4, failed=1, errored=number - 1, skipped=3, duration_ms=4_201, problems=("a.xml: it is no XML",)
        )
        counter.desk.store.add_cases((f"{number}/test", 1), 0, [*found, *wrong], tally)


def test_failures_come_first_then_the_slowest_and_what_is_wrong_with_the_reports(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("tests", "2")
    assert (ended.code, ended.err) == (0, "")
    said, _, table = ended.out.partition("\n\n")
    assert said.splitlines() == [
        "9 tests: 1 failed, 1 errored (1 new), 3 skipped, 4 passed, 4.2 s",
        "  a.xml: it is no XML",
        "failed   shapes.Round rolls",
        "    it stood",
        "errored  \N{REPLACEMENT CHARACTER}[2Jflies  new",
        "    no wings",
    ]
    assert [line.split() for line in table.splitlines()] == [
        ["SLOWEST", "TEST", "SUITE", "JOB"],
        ["2.1", "s", "slow", "3", "shapes.Round"],
        ["1.4", "s", "slow", "2", "shapes.Round"],
        ["700", "ms", "slow", "1", "shapes.Round"],
        ["2", "ms", "\N{REPLACEMENT CHARACTER}[2Jflies"],
        ["1", "ms", "rolls", "shapes.Round"],
    ]


def test_of_several_jobs_it_is_said_whose_report_is_wrong(type_: Type, counter: Counter) -> None:
    fill(counter)
    tally = Tally(passed=0, failed=0, errored=0, skipped=0, duration_ms=0, problems=("b.xml: no file matches",))
    counter.desk.store.commit(new(make_attempt(2, "lint", state=AttemptState.PASSED)))
    counter.desk.store.add_cases(("2/lint", 1), 0, [], tally)
    said = type_("tests", "2").out.splitlines()
    assert [line for line in said if ".xml" in line] == [
        "  b.xml: no file matches  [lint]",
        "  a.xml: it is no XML  [test]",
    ]


def test_the_output_of_failures_and_another_number_of_slow_ones_are_asked_for(type_: Type, counter: Counter) -> None:
    fill(counter)
    lines = type_("tests", "1", "test", "--output", "--slowest", "1").out.splitlines()
    assert lines[2:5] == ["failed   shapes.Round rolls", "    line 7", "    here"]
    assert lines[-1].startswith("2.1 s    slow 3")
    assert lines[-2].startswith("SLOWEST")


def test_flaky_tests_are_told_as_such_and_not_as_failures(type_: Type, counter: Counter) -> None:
    fill(counter)
    tally = Tally(passed=1, failed=0, errored=0, skipped=0, duration_ms=1)
    counter.desk.store.add_cases(("2/test", 2), 0, [replace(OLD, state="passed", message="", output="")], tally)
    lines = type_("tests", "2").out.splitlines()
    assert lines[:4] == [
        "1 test: 1 flaky, 1 passed, 1 ms",
        "flaky    shapes.Round rolls",
        "    failed in attempt 1, passed in attempt 2",
        "    it stood",
    ]


def test_the_answer_of_an_older_dispatcher_which_knows_no_flaky_tests_is_understood(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(counter)

    page = CaseAnswers._page  # noqa: SLF001  # what a dispatcher answers

    def older(*sought: Any) -> dict[str, Any]:
        body = page(*sought)
        del body["flaky"]
        for job in body["jobs"]:
            del job["flaky"]
        return body

    monkeypatch.setattr(CaseAnswers, "_page", older)
    assert type_("tests", "2").out.startswith("9 tests: 1 failed, 1 errored (1 new), ")


def test_a_build_without_results_says_what_to_write(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("tests", "2", "lint")
    assert (ended.code, ended.out) == (0, "")
    assert "`reports`" in ended.err


def test_scripts_get_one_document(type_: Type, counter: Counter) -> None:
    fill(counter)
    document = json.loads(type_("tests", "2", "--json").out)
    assert set(document) == {"build", "before", "jobs", "flaky", "cases"}
    assert [case["new"] for case in document["cases"]] == [False, True, None, None, None, None]
    assert document["jobs"][0]["new"] == 1


def test_show_has_a_line_of_it(type_: Type, counter: Counter) -> None:
    fill(counter)
    line = "9 tests: 1 failed, 1 errored (1 new), 3 skipped, 4 passed, 4.2 s; `surveil tests 2` lists them"
    assert line in type_("show", "2").out.splitlines()
