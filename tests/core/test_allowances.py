"""Allowances: no more than was said, for ever; as much again after a rest; never more memory than was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from surveil.core.allowances import Allowances

EACH_MS, MOST = 100, 5


def allowances(keys_max: int = 1000) -> Allowances:
    return Allowances(each_ms=EACH_MS, most=MOST, keys_max=keys_max)


def test_a_burst_is_taken_and_then_one_each_time_that_one_came_back() -> None:
    mine = allowances()
    assert [mine.take("a", 0) for _ in range(7)] == [0, 0, 0, 0, 0, 100, 100]
    assert mine.take("a", 99) == 1
    assert [mine.take("a", 100), mine.take("a", 100)] == [0, 100]
    assert [mine.take("a", 10_000) for _ in range(6)] == [0, 0, 0, 0, 0, 100]


def test_one_is_not_counted_for_the_other() -> None:
    mine = allowances()
    assert [mine.take("a", 0) for _ in range(6)][-1] == 100
    assert mine.take("b", 0) == 0


def test_looking_takes_nothing() -> None:
    mine = allowances()
    assert [mine.wait_ms("a", 0) for _ in range(20)] == [0] * 20
    assert len(mine) == 0


@given(some.lists(some.integers(0, 400), max_size=200))
def test_whoever_asks_as_often_as_they_can_gets_no_more_than_was_said(pauses: list[int]) -> None:
    mine, now, taken = allowances(), 0, 0
    for pause in pauses:
        now += pause
        taken += not mine.take("a", now)
        assert taken <= MOST + now // EACH_MS


@given(some.lists(some.tuples(some.integers(0, 50), some.integers(0, 300)), max_size=300))
def test_memory_is_bounded_whoever_comes(asks: list[tuple[int, int]]) -> None:
    mine, now = allowances(keys_max=8), 0
    for key, pause in asks:
        now += pause
        mine.take(key, now)
        assert len(mine) <= 8 + 1


def test_strangers_under_many_names_share_one_allowance_and_take_nothing_from_who_was_there() -> None:
    mine = allowances(keys_max=3)
    assert [mine.take(name, 0) for name in "abc"] == [0, 0, 0]
    assert [mine.take(f"stranger {number}", 0) for number in range(6)] == [0, 0, 0, 0, 0, 100]
    assert [mine.take("a", 0) for _ in range(4)] == [0, 0, 0, 0]
    assert mine.take("d", MOST * EACH_MS) == 0
    assert len(mine) <= 4
