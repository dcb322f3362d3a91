"""What is answered about tests: which attempts count, what is new, and pages that fit."""

from __future__ import annotations

from typing import Any

import pytest

from surveil.answer import cases as answers
from surveil.errors import NotFoundError, UsageError
from surveil.frozen import replace
from surveil.protocol import Case, Tally
from tests.answer.desk import Desk
from tests.store.records import make_build, make_job, new

PASSED = Case(suite="s", name="ok", state="passed", duration_ms=5)


def build(desk: Desk, number: int, jobs: dict[str, dict[int, str]], *, ref: str = "refs/heads/main") -> None:
    """A build whose jobs' attempts have tests of one letter each, those in capitals failing."""
    made = make_build(number, jobs=tuple(jobs))
    made = replace(made, mid=str(number), ref=ref, sha=f"{number:040}")
    desk.store.commit(new(made, *(make_job(number, name=name, position=at) for at, name in enumerate(jobs))))
    for name, attempts in jobs.items():
        for attempt, letters in attempts.items():
            found = [
                replace(PASSED, name=each.lower(), state="failed" if each.isupper() else "passed") for each in letters
            ]
            wrong = sum(map(str.isupper, letters))
            tally = Tally(passed=len(letters) - wrong, failed=wrong, errored=0, skipped=0, duration_ms=5)
            desk.store.add_cases((f"{number}/{name}", attempt), 0, found, tally)


def wrong(document: dict[str, Any]) -> dict[str, bool | None]:
    return {f"{case['job']} {case['name']}": case["new"] for case in document["cases"] if case["state"] == "failed"}


def test_a_build_without_results_says_so() -> None:
    desk = Desk()
    build(desk, 1, {"test": {}})
    assert desk.ask("tests", build=1) == {"build": 1, "before": None, "jobs": [], "cases": [], "next": None}
    assert desk.ask("build", build=1)["jobs"][0]["tests"] is None


def test_a_failure_is_new_if_the_same_test_of_the_same_job_did_not_fail_before() -> None:
    desk = Desk()
    build(desk, 1, {"test": {1: "aBC"}, "lint": {1: "A"}})
    build(desk, 2, {"test": {1: "ABC"}}, ref="refs/heads/other")
    build(desk, 3, {"test": {1: "ABcD"}, "lint": {1: "AB"}})
    document = desk.ask("tests", build=3)
    assert document["before"] == 1
    assert wrong(document) == {
        "3/test a": True, "3/test b": False, "3/test d": True, "3/lint a": False, "3/lint b": True,
    }  # fmt: skip
    assert {one["job"]: one["new"] for one in document["jobs"]} == {"3/test": 2, "3/lint": 1}
    assert [job["tests"]["new"] for job in desk.ask("build", build=3)["jobs"]] == [2, 1]
    assert all(case["new"] is None for case in document["cases"] if case["state"] == "passed")


def test_where_there_is_nothing_to_compare_with_nothing_is_new() -> None:
    desk = Desk()
    build(desk, 1, {"test": {1: "aB"}})
    document = desk.ask("tests", build=1)
    assert (document["before"], wrong(document), document["jobs"][0]["new"]) == (None, {"1/test b": None}, None)


def test_of_each_job_the_newest_attempt_that_told_all_counts() -> None:
    desk = Desk()
    build(desk, 1, {"test": {1: "AB", 3: "aB"}, "lint": {1: "C"}})
    desk.store.add_cases(("1/test", 4), 0, [PASSED], None)
    assert wrong(desk.ask("tests", build=1)) == {"1/test b": None, "1/lint c": None}
    assert wrong(desk.ask("tests", build=1, job="test")) == {"1/test b": None}
    assert [(one["attempt"], one["total"]) for one in desk.ask("tests", build=1)["jobs"]] == [(1, 1), (3, 2)]


def test_pages_come_in_order_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    build(desk, 1, {"test": {1: "abCDefG"}})
    whole = desk.ask("tests", build=1)
    assert whole["next"] is None
    monkeypatch.setattr(answers, "CASES_PAGE", 3)
    pages = []
    at: int | None = 0
    while at is not None:
        page = desk.ask("tests", build=1, at=at)
        pages += page["cases"]
        at = page["next"]
    assert pages == whole["cases"]
    monkeypatch.setattr(answers, "CASES_PAGE", 1000)
    monkeypatch.setattr(answers, "PAGE_CHARACTERS_MAX", 450)
    page = desk.ask("tests", build=1)
    assert (len(page["cases"]), page["next"]) == (2, 2)
    monkeypatch.setattr(answers, "PAGE_CHARACTERS_MAX", 1)
    assert len(desk.ask("tests", build=1)["cases"]) == 1, "a page is never empty while there is more"


def test_what_is_not_there_is_told_with_what_was_meant() -> None:
    desk = Desk()
    build(desk, 1, {"test": {}})
    with pytest.raises(NotFoundError, match="There is no build `2`"):
        desk.ask("tests", build=2)
    with pytest.raises(NotFoundError, match="did you mean `test`"):
        desk.ask("tests", build=1, job="tset")
    with pytest.raises(UsageError, match="takes no argument"):
        desk.ask("tests", build=1, jbo="x")
