"""What shards are handed: everything, once, the longest first, whatever becomes of them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.core.shards import (
    BATCH_MS_MIN,
    Asked,
    Fate,
    case_of,
    enough,
    next_batch,
    undone,
    usual_ms,
    waiting,
    weights,
)
from surveil.protocol import BATCH_MAX, CaseState, ShardResult, suite_of

OWN = ("1/t[shard=1]", 1)


def done(*items: int, state: CaseState = "passed") -> tuple[ShardResult, ...]:
    return tuple(ShardResult(item=item, state=state, duration_ms=1) for item in items)


def asked(*given: int, told: tuple[ShardResult, ...] = (), shard: int = 2, attempt: int = 1, seq: int = 1) -> Asked:
    return Asked(job=f"1/t[shard={shard}]", attempt=attempt, seq=seq, done=told, given=given)


def left(*rows: Asked, fate: Fate, count: int = 4) -> list[int]:
    return waiting(count, rows, lambda *_: fate, OWN)


def test_what_an_attempt_holds_is_its_own_while_it_lives_and_anybodys_when_it_is_over() -> None:
    assert left(asked(0, 1), fate="open") == [2, 3]
    assert left(asked(0, 1), fate="ended") == [0, 1, 2, 3]
    assert left(asked(0, 1), fate="gone") == [0, 1, 2, 3]


@pytest.mark.parametrize("fate", ["open", "ended", "gone"])
def test_what_passed_or_was_skipped_is_over_whatever_became_of_its_attempt(fate: Fate) -> None:
    rows = (asked(0, 1), asked(told=(*done(0), *done(1, state="skipped")), seq=2))
    assert left(*rows, fate=fate) == [2, 3]


@pytest.mark.parametrize("state", ["failed", "errored"])
def test_a_failure_is_its_attempts_word_and_nobodys_when_that_was_lost(state: CaseState) -> None:
    rows = (asked(0), asked(told=done(0, state=state), seq=2))
    assert left(*rows, fate="ended") == [1, 2, 3]
    assert left(*rows, fate="open") == [1, 2, 3]
    assert left(*rows, fate="gone") == [0, 1, 2, 3]


def test_whoever_tries_again_runs_again_what_did_not_pass_and_nothing_else() -> None:
    rows = (asked(0, 1, shard=1), asked(told=(*done(0), *done(1, state="failed")), shard=1, seq=2))
    again = ("1/t[shard=1]", 2)
    assert waiting(3, rows, lambda *_: "ended", again) == [1, 2]
    assert waiting(3, rows, lambda *_: "ended", ("1/t[shard=2]", 1)) == [2]


def test_what_was_given_and_not_told_of_is_counted() -> None:
    rows = (asked(0, 1, 2, shard=1), asked(3, told=done(0, 2), shard=1, seq=2), asked(5))
    assert undone(rows, OWN) == 2
    assert undone(rows, ("1/t[shard=1]", 2)) == 0


def test_the_longest_come_first_and_batches_shrink() -> None:
    weights_ms = [100, 9_000, 300, 8_000, 200, 400]
    assert next_batch(range(6), weights_ms, 1) == (1,)
    assert next_batch([0, 2, 3, 4, 5], weights_ms, 1) == (3,)
    assert next_batch([0, 2, 4, 5], weights_ms, 1) == (5,)
    assert next_batch([0, 4], weights_ms, 8) == (4,)
    assert next_batch([], weights_ms, 8) == ()


def test_a_batch_is_worth_a_question_and_fits_into_an_answer() -> None:
    assert len(next_batch(range(100), [1] * 100, 50)) == 100
    assert len(next_batch(range(100), [BATCH_MS_MIN] * 100, 50)) == 1
    assert len(next_batch(range(100_000), [100] * 100_000, 1)) == BATCH_MAX


def test_what_nobody_knows_counts_as_usual() -> None:
    assert weights(["a", "b", "c", "d"], {"a": 10, "b": 0, "c": 30}) == [10, 1, 30, 10]
    assert weights(["a"], {}) == [BATCH_MS_MIN]


@pytest.mark.parametrize(
    ("took_ms", "shards"),
    [
        ([], 1),
        ([0, 0], 1),
        ([50] * 2, 1),
        ([50] * 3, 2),
        ([50] * 100, 6),
        ([1_000, 50, 50], 2),
        ([101], 1),
    ],
)
def test_as_many_shards_as_bring_the_tests_below_the_target_and_as_there_is_work_for(
    took_ms: list[int], shards: int
) -> None:
    assert enough(took_ms, target_ms=100, most=6, slots=7) == shards


def test_no_more_shards_than_find_a_slot_unless_no_runner_is_known() -> None:
    assert enough([50] * 100, target_ms=100, most=6, slots=3) == 3
    assert enough([50] * 100, target_ms=100, most=6, slots=0) == 6


def test_one_slow_machine_moves_no_median() -> None:
    assert usual_ms([{"a": 10, "b": 5}, {"a": 900}, {"a": 12}]) == {"a": 12, "b": 5}
    assert usual_ms([{"a": 10}, {"a": 21}]) == {"a": 16}
    assert usual_ms([]) == {}


@pytest.mark.parametrize(
    ("name", "suite"),
    [("t", "t"), ("t[shard=3]", "t"), ("t[a=1,shard=3]", "t[a=1]"), ("t[shard=3,z=shard]", "t[z=shard]"),
     ("t[a=1]", "t[a=1]")],
)  # fmt: skip
def test_the_shards_of_a_suite_have_its_name_in_common(name: str, suite: str) -> None:
    assert suite_of(name) == suite


@pytest.mark.parametrize(
    ("item", "suite", "name"),
    [
        ("a/b/test_c.py::test_d", "a.b.test_c", "test_d"),
        ("test_c.py::C::D::test_d[x/y.py::z]", "test_c.C.D", "test_d[x/y.py::z]"),
        ("tests/one.spec.js", "", "tests/one.spec.js"),
        ("a[::b]", "", "a[::b]"),
        ("é" * 900, "", "é" * 500),
        ("t\udcff.py::test_\ud800", "t?", "test_?"),
    ],
)
def test_an_item_is_called_as_a_report_would_call_it(item: str, suite: str, name: str) -> None:
    found = case_of(item, ShardResult(item=0, state="skipped", duration_ms=7))
    assert (found.suite, found.name, found.state, found.duration_ms) == (suite, name, "skipped", 7)


@given(
    times=st.lists(st.integers(1, 3_000), min_size=1, max_size=60),
    count=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    known=st.booleans(),
)
def test_every_item_passes_and_none_twice_but_what_a_lost_shard_held(
    times: list[int], count: int, seed: int, known: bool
) -> None:
    """Shards with clocks of their own, some of which are lost and tried again."""
    dice = random.Random(seed)
    guess = times if known else [BATCH_MS_MIN] * len(times)
    rows: list[Asked] = []
    fates: dict[tuple[str, int], Fate] = {(f"1/t[shard={shard}]", 1): "open" for shard in range(count)}
    clock = dict.fromkeys(fates, 0)
    told: dict[tuple[str, int], tuple[ShardResult, ...]] = dict.fromkeys(fates, ())
    passed: Counter[int] = Counter()
    lost_in_hand: Counter[int] = Counter()
    losses = dice.randrange(4)
    while "open" in fates.values():
        shard = min((each for each, fate in fates.items() if fate == "open"), key=lambda each: (clock[each], each))
        now = Asked(job=shard[0], attempt=shard[1], seq=len(rows) + 1, done=told[shard], given=())
        given_now = next_batch(waiting(len(times), [*rows, now], lambda *of: fates[of], shard), guess, count)
        rows.append(Asked(job=shard[0], attempt=shard[1], seq=len(rows) + 1, done=told[shard], given=given_now))
        if given_now and losses and dice.random() < 0.3:
            losses -= 1
            lost_in_hand.update(given_now)
            fates[shard] = "gone"
            again = (shard[0], shard[1] + 1)
            fates[again], clock[again], told[again] = "open", clock[shard] + 1_000, ()
            continue
        clock[shard] += sum(times[item] for item in given_now) + 1
        passed.update(given_now)
        told[shard] = done(*given_now)
        if not given_now:
            fates[shard] = "ended"
    assert set(passed) == set(range(len(times)))
    assert all(number <= 1 + lost_in_hand[item] for item, number in passed.items())
    if known and not lost_in_hand:
        assert max(clock.values()) <= sum(times) / count + max(times) + BATCH_MS_MIN + len(rows) + 1
