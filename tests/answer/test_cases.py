"""What is answered about tests: which attempts count, what is new, and pages that fit."""

from __future__ import annotations

from typing import Any

import pytest

from surveil.answer import cases as answers
from surveil.core.model import AttemptState
from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.errors import NotFoundError, UsageError
from surveil.frozen import replace
from surveil.protocol import Case, CaseState, ShardResult, Tally
from tests.answer.desk import Desk
from tests.store.records import make_attempt, make_build, make_job, new

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
    assert desk.ask("tests", build=1) == {
        "build": 1, "before": None, "jobs": [], "flaky": [], "cases": [], "next": None,
    }  # fmt: skip
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


def test_a_test_that_failed_and_then_passed_in_the_same_job_is_flaky_and_not_failed() -> None:
    desk = Desk()
    build(desk, 1, {"test": {1: "ABCd", 2: "aBC", 3: "abC"}, "lint": {1: "a"}})
    document = desk.ask("tests", build=1)
    assert [(one["name"], one["failed_attempt"], one["passed_attempt"]) for one in document["flaky"]] == [
        ("a", 1, 3), ("b", 2, 3),
    ]  # fmt: skip
    assert wrong(document) == {"1/test c": None}
    assert {one["job"]: one["flaky"] for one in document["jobs"]} == {"1/test": 2, "1/lint": 0}
    assert desk.ask("tests", build=1, job="lint")["flaky"] == []


# ---- shards ----------------------------------------------------------------------------------------------------------

ITEMS = ["t/test_a.py::Case::test_1[x::y]", "t/test_a.py::test_2", "plain"]


def shards(desk: Desk, number: int, *, first: AttemptState, second: AttemptState | None = None) -> None:
    """A build of two shards, of whose first one there are up to two attempts."""
    names = ("t[shard=1]", "t[shard=2]")
    jobs = [make_job(number, name=name, position=at, attempt=1 + (second is not None and not at))
            for at, name in enumerate(names)]  # fmt: skip
    jobs = [
        replace(job, spec=replace(job.spec, name=name, shards=2, matrix={"shard": name[-2]}))
        for job, name in zip(jobs, names, strict=True)
    ]
    attempts = [make_attempt(number, name=names[0], state=first), make_attempt(number, name=names[1])]
    attempts += [] if second is None else [make_attempt(number, name=names[0], number=2, state=second)]
    made = replace(make_build(number, jobs=names), mid=str(number), sha=f"{number:040}")
    desk.store.commit(new(made, *jobs, *attempts))
    desk.store.add_shard_list(number, "t", *pack(ITEMS))


def tell(desk: Desk, name: str, attempt: int, *states: CaseState, build: int = 1) -> None:
    """An attempt tells how the items ended, in their order."""
    done = tuple(ShardResult(item=item, state=state, duration_ms=9) for item, state in enumerate(states))
    desk.store.add_shard_ask(Asked(job=f"{build}/{name}", attempt=attempt, seq=2, done=done, given=()), "t")


def listed(document: dict[str, Any]) -> list[tuple[str, int, str, str, str]]:
    return [(one["job"], one["attempt"], one["suite"], one["name"], one["state"]) for one in document["cases"]]


def test_what_a_lost_shard_told_as_passed_is_listed_and_its_failures_are_not() -> None:
    desk = Desk()
    shards(desk, 1, first=AttemptState.LOST)
    tell(desk, "t[shard=1]", 1, "passed", "failed", "skipped")
    document = desk.ask("tests", build=1)
    assert listed(document) == [
        ("1/t[shard=1]", 1, "t.test_a.Case", "test_1[x::y]", "passed"),
        ("1/t[shard=1]", 1, "", "plain", "skipped"),
    ]
    (job,) = document["jobs"]
    assert (job["job"], job["total"], job["passed"], job["skipped"], job["duration_ms"]) == (
        "1/t[shard=1]", 2, 1, 1, 18,
    )  # fmt: skip
    assert desk.ask("tests", build=1, job="t[shard=2]")["cases"] == []
    assert desk.ask("build", build=1)["jobs"][0]["tests"]["passed"] == 1


def test_an_attempt_that_runs_is_not_listed_yet_and_one_with_a_report_is_listed_by_that() -> None:
    desk = Desk()
    shards(desk, 1, first=AttemptState.PASSED)
    tell(desk, "t[shard=1]", 1, "passed")
    tell(desk, "t[shard=2]", 1, "passed")
    assert [one[:2] for one in listed(desk.ask("tests", build=1))] == [("1/t[shard=1]", 1)]
    tally = Tally(passed=1, failed=0, errored=0, skipped=0, duration_ms=5)
    desk.store.add_cases(("1/t[shard=1]", 1), 0, [replace(PASSED, name="as reported")], tally)
    assert [one[3] for one in listed(desk.ask("tests", build=1))] == ["as reported"]


@pytest.mark.parametrize(("state", "found"), [(AttemptState.FAILED, ["failed"]), (AttemptState.ERRORED, [])])
def test_an_attempt_without_a_report_answers_for_its_failures_by_its_own_verdict(
    state: AttemptState, found: list[str]
) -> None:
    desk = Desk()
    shards(desk, 1, first=state)
    tell(desk, "t[shard=1]", 1, "failed")
    assert [one[4] for one in listed(desk.ask("tests", build=1))] == found


def test_of_a_shard_that_was_tried_again_counts_all_that_passed() -> None:
    desk = Desk()
    shards(desk, 1, first=AttemptState.FAILED, second=AttemptState.PASSED)
    whole = Tally(passed=2, failed=1, errored=0, skipped=0, duration_ms=30)
    first = [replace(PASSED, name="a"), replace(PASSED, name="b"), replace(PASSED, name="c", state="failed")]
    desk.store.add_cases(("1/t[shard=1]", 1), 0, first, whole)
    desk.store.add_cases(("1/t[shard=1]", 2), 0, first[2:], replace(whole, passed=0, duration_ms=10))
    document = desk.ask("tests", build=1)
    assert sorted(one[1:2] + one[3:] for one in listed(document)) == [
        (1, "a", "passed"), (1, "b", "passed"), (2, "c", "failed"),
    ]  # fmt: skip
    (job,) = document["jobs"]
    assert (job["attempt"], job["total"], job["failed"], job["duration_ms"]) == (2, 3, 1, 40)


def test_a_failure_is_not_new_because_it_fell_to_another_shard() -> None:
    desk = Desk()
    build(desk, 1, {"t[shard=1,v=a]": {1: "A"}, "t[shard=2,v=a]": {1: "b"}})
    build(desk, 2, {"t[shard=1,v=a]": {1: "B"}, "t[shard=2,v=a]": {1: "A"}})
    assert wrong(desk.ask("tests", build=2)) == {"2/t[shard=1,v=a] b": True, "2/t[shard=2,v=a] a": False}


def test_what_shards_told_comes_in_pages_behind_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    shards(desk, 1, first=AttemptState.LOST)
    tell(desk, "t[shard=1]", 1, "passed", "passed", "passed")
    tally = Tally(passed=2, failed=0, errored=0, skipped=0, duration_ms=5)
    desk.store.add_cases(("1/t[shard=2]", 1), 0, [PASSED, PASSED], tally)
    monkeypatch.setattr(answers, "CASES_PAGE", 2)
    pages: list[int] = []
    at: int | None = 0
    while at is not None:
        page = desk.ask("tests", build=1, at=at)
        pages.append(len(page["cases"]))
        at = page["next"]
    assert pages == [2, 2, 1]


def test_what_is_not_there_is_told_with_what_was_meant() -> None:
    desk = Desk()
    build(desk, 1, {"test": {}})
    with pytest.raises(NotFoundError, match="There is no build `2`"):
        desk.ask("tests", build=2)
    with pytest.raises(NotFoundError, match="did you mean `test`"):
        desk.ask("tests", build=1, job="tset")
    with pytest.raises(UsageError, match="takes no argument"):
        desk.ask("tests", build=1, jbo="x")
