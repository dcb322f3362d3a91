"""What every store promises of test results, tried on each implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surveil.core.shards import Asked
from surveil.frozen import replace
from surveil.protocol import PRINTED_MAX, Case, ShardResult, Tally
from surveil.store import AttemptTally, Sharing, Store, StoredCase
from surveil.store.sqlite import open_store
from tests.store.memory import MemoryStore
from tests.store.records import make_build, new

CASE = Case(suite="s", name="n", state="passed", duration_ms=5)
TALLY = Tally(passed=3, failed=1, errored=1, skipped=0, duration_ms=9, problems=("a.xml: it is no XML", "é"))


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = open_store(tmp_path, now=1) if request.param == "sqlite" else MemoryStore()
    yield opened
    opened.close()


def named(*names: str, **fields: object) -> list[Case]:
    return [replace(CASE, name=name, **fields) for name in names]  # type: ignore[arg-type]


def names(found: list[StoredCase]) -> list[str]:
    return [one.case.name for one in found]


def test_without_results_every_question_has_an_answer(store: Store) -> None:
    assert store.reader.tallies([1]) == []
    assert store.reader.cases([("1/test", 1)]) == []
    assert store.reader.tested_before(1) is None


def test_results_come_back_as_they_were_what_went_wrong_first_then_the_slowest(store: Store) -> None:
    wrong = Case(suite="a.b", name="é", state="failed", duration_ms=1, message="why", output="line 1\nline 2")
    store.add_cases(("1/a/b é", 2), 0, [CASE, replace(CASE, name="slow", duration_ms=70)], None)
    store.add_cases(("1/a/b é", 2), 2, [wrong, replace(wrong, name="e", state="errored")], TALLY)
    found = store.reader.cases([("1/a/b é", 2)])
    assert names(found) == ["é", "e", "slow", "n"]
    assert found[0] == StoredCase(job="1/a/b é", attempt=2, case=wrong)
    assert names(store.reader.cases([("1/a/b é", 2)], at=1, limit=2)) == ["e", "slow"]
    assert names(store.reader.cases([("1/a/b é", 2)], wrong=True)) == ["é", "e"]
    assert store.reader.tallies([1]) == [AttemptTally(job="1/a/b é", attempt=2, tally=TALLY)]


def test_the_results_of_an_attempt_print_no_more_than_may_be_and_what_is_too_much_is_not_kept(store: Store) -> None:
    loud = replace(CASE, state="failed", output="\x00é" + "x" * 7_998)
    assert store.add_cases(("1/test", 1), 1, [loud] * (PRINTED_MAX // 8_000 - 1), None)
    assert not store.add_cases(("1/test", 1), 5_000, [loud, replace(loud, output="x")], TALLY)
    assert store.reader.tallies([1]) == []
    # What is said again is not counted again, nor is what another attempt printed.
    assert store.add_cases(("1/test", 1), 1, [loud], TALLY)
    assert store.add_cases(("1/test", 2), 0, [loud] * 2, TALLY)
    assert len(store.reader.cases([("1/test", 1)], limit=PRINTED_MAX)) == PRINTED_MAX // 8_000 - 1


def test_results_that_are_said_again_are_kept_once_and_as_they_were(store: Store) -> None:
    store.add_cases(("1/test", 1), 0, named("a", "b"), TALLY)
    store.add_cases(("1/test", 1), 1, named("c", "d"), replace(TALLY, passed=7))
    assert sorted(names(store.reader.cases([("1/test", 1)]))) == ["a", "b", "d"]
    assert [one.tally for one in store.reader.tallies([1])] == [TALLY]


def test_each_attempt_has_its_own_and_only_those_asked_for_are_given(store: Store) -> None:
    for build, job, number in ((1, "a", 1), (1, "a", 2), (1, "b", 1), (2, "a", 1)):
        store.add_cases((f"{build}/{job}", number), 0, named(f"{build}{job}{number}"), TALLY)
    assert names(store.reader.cases([("1/a", 2), ("2/a", 1)])) == ["1a2", "2a1"]
    assert [(one.job, one.attempt) for one in store.reader.tallies([1])] == [("1/a", 1), ("1/a", 2), ("1/b", 1)]
    assert [(one.job, one.attempt) for one in store.reader.tallies([2, 7])] == [("2/a", 1)]


def test_results_are_compared_with_the_last_build_of_the_ref_that_has_some_and_is_of_another_commit(
    store: Store,
) -> None:
    shas = ("a" * 40, "b" * 40, "c" * 40, "d" * 40, "d" * 40, "d" * 40)
    for number, sha in enumerate(shas, 1):
        ref = "refs/heads/other" if number == 2 else "refs/heads/main"
        build = make_build(number, jobs=())
        store.commit(new(replace(build, mid=str(number), ref=ref, sha=sha)))
        if number != 3:
            store.add_cases((f"{number}/test", 1), 0, [], TALLY)
    assert [store.reader.tested_before(number) for number in range(1, 8)] == [None, None, 1, 1, 1, 1, None]


def test_the_history_of_a_test_is_that_of_its_ref_newest_first_and_of_whole_results(store: Store) -> None:
    for number in range(1, 6):
        ref = "refs/heads/other" if number == 2 else "refs/heads/main"
        store.commit(new(replace(make_build(number, jobs=()), mid=str(number), ref=ref)))
        state = "failed" if number > 2 else "passed"
        found = named("mine", "other", state=state)
        store.add_cases((f"{number}/test", 1), 0, found, None if number == 3 else TALLY)
    store.add_cases(("4/test", 2), 0, named("mine"), TALLY)
    store.add_cases(("4/lint", 1), 0, named("mine", suite="else"), TALLY)
    told = [(one.job, one.attempt, one.case.state) for one in store.reader.history(4, "s", "mine")]
    assert told == [("4/test", 2, "passed"), ("4/test", 1, "failed"), ("1/test", 1, "passed")]
    assert store.reader.history(9, "s", "mine") == []


def test_results_survive_a_restart(tmp_path: Path) -> None:
    first = open_store(tmp_path, now=1)
    first.add_cases(("1/test", 1), 0, [CASE], TALLY)
    first.close()
    second = open_store(tmp_path, now=2)
    assert second.reader.cases([("1/test", 1)]) == [StoredCase(job="1/test", attempt=1, case=CASE)]
    second.close()


def test_shared_lists_and_what_was_asked_about_them_come_back_and_the_first_of_each_stays(store: Store) -> None:
    first = Asked(job="1/t[shard=1]", attempt=1, seq=1, done=(), given=(0, 2))
    second = Asked(
        job="1/t[shard=1]", attempt=1, seq=2, done=(ShardResult(item=0, state="failed", duration_ms=7),), given=()
    )
    assert store.reader.sharing(1, "t") is None
    store.add_shard_list(1, "t", "ab", b"\x00list")
    store.add_shard_list(1, "t", "cd", b"other")
    for one in (second, first, replace(first, given=(5,))):
        store.add_shard_ask(one, "t")
    store.add_shard_ask(replace(first, job="1/u"), "u")
    assert store.reader.sharing(1, "t") == Sharing(digest="ab", items=b"\x00list", asked=(first, second))
    assert store.reader.sharing(2, "t") is None


def test_the_last_build_of_the_repository_that_shared_the_suite_is_found(store: Store) -> None:
    for number in range(1, 5):
        build = make_build(number, jobs=())
        repo = "other" if number == 3 else "mine"
        store.commit(new(replace(build, mid=str(number), repo=repo)))
        if number != 2:
            store.add_shard_list(number, "t", str(number), b"")
    (found,) = store.reader.shared_before("mine", "t", before=4)
    assert found == Sharing(digest="1", items=b"", asked=())
    assert store.reader.shared_before("mine", "u") == []
    assert store.reader.shared_before("mine", "t", before=1) == []


def test_the_last_builds_of_a_ref_come_newest_first_and_no_more_than_are_wanted(store: Store) -> None:
    for number in range(1, 7):
        ref = "refs/heads/other" if number == 5 else "refs/heads/main"
        store.commit(new(replace(make_build(number, jobs=()), mid=str(number), repo="mine", ref=ref)))
        store.add_shard_list(number, "t", str(number), b"")

    def digests(**which: Any) -> str:
        return "".join(one.digest for one in store.reader.shared_before("mine", "t", **which))

    assert digests(limit=9) == "654321"
    assert digests(ref="refs/heads/main", limit=3) == "643"
    assert digests(ref="refs/heads/main", before=4, limit=9) == "321"
    assert digests(ref="refs/heads/gone", limit=9) == ""


def test_of_some_attempts_only_what_did_not_go_wrong_and_only_tests_of_some_names_are_given(store: Store) -> None:
    store.add_cases(("1/t", 1), 0, [*named("a", "b"), *named("c", state="errored")], TALLY)
    store.add_cases(("1/t", 2), 0, named("c", "d", state="failed"), TALLY)
    of, before = [("1/t", 2)], [("1/t", 1)]
    assert sorted(names(store.reader.cases(of, sound_of=before))) == ["a", "b", "c", "d"]
    assert [one.attempt for one in store.reader.cases(of, sound_of=before, wrong=True)] == [2, 2]
    assert [one.attempt for one in store.reader.cases(of, sound_of=before, named=["c", "a"])] == [2, 1]
    assert names(store.reader.cases(of, named=[])) == []
