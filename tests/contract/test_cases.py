"""What every store promises of test results, tried on each implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.core.shards import Asked
from surveil.frozen import replace
from surveil.protocol import Case, ShardResult, Tally
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
    found = store.reader.shared_before("mine", "t", 4)
    assert found == Sharing(digest="1", items=b"", asked=())
    assert store.reader.shared_before("mine", "u", 4) is None
    assert store.reader.shared_before("mine", "t", 1) is None
