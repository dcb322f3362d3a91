"""How long tests took lately: the ref's own builds first, then the main branch's, by the median."""

from __future__ import annotations

import pytest

from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.frozen import replace
from surveil.hands import durations
from surveil.hands.durations import Lately, lately
from surveil.protocol import ShardResult
from tests.store.memory import MemoryStore
from tests.store.records import make_build, new

MAIN, TOPIC = "refs/heads/main", "refs/heads/topic"


class Past:
    """Builds of one repository that shared the suite `t`."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._number = 0

    def build(self, ref: str = MAIN, **took_ms: int) -> None:
        self._number += 1
        self.store.commit(new(replace(make_build(self._number, jobs=()), mid=str(self._number), repo="r", ref=ref)))
        items = sorted(took_ms)
        self.store.add_shard_list(self._number, "t", *pack(items))
        done = tuple(ShardResult(item=at, state="passed", duration_ms=took_ms[item]) for at, item in enumerate(items))
        job = f"{self._number}/t[shard=1]"
        self.store.add_shard_ask(Asked(job=job, attempt=1, seq=2, done=done, given=()), "t")

    def asked(self, ref: str = MAIN, base: str = MAIN, before: int | None = None) -> Lately:
        return lately(self.store.reader, "r", "t", ref=ref, base=base, before=before)


def test_without_a_past_nothing_is_known() -> None:
    past = Past()
    assert past.asked() == Lately({})
    past.build(a=5)
    assert past.asked(before=1) == Lately({})
    assert lately(past.store.reader, "r", "other", ref=MAIN, base=MAIN) == Lately({})


def test_the_last_five_builds_of_the_ref_are_asked_and_one_outlier_moves_nothing() -> None:
    past = Past()
    for took_ms in (900, 900, 900, 10, 11, 12, 13, 5_000):
        past.build(a=took_ms)
    assert past.asked().took_ms == {"a": 12}


def test_what_is_new_on_a_ref_is_known_from_the_main_branch_and_no_more() -> None:
    past = Past()
    past.build(TOPIC, a=7)
    past.build(MAIN, a=100, b=200)
    past.build("refs/heads/strange", a=1, b=1, c=1)
    assert past.asked(TOPIC).took_ms == {"a": 7, "b": 200}
    assert past.asked(TOPIC, base="").took_ms == {"a": 7}


def test_where_neither_knows_anything_the_last_builds_of_the_repository_do() -> None:
    past = Past()
    past.build("refs/heads/strange", a=3, c=4)
    assert past.asked(TOPIC).took_ms == {"a": 3, "c": 4}


def test_tests_that_the_newest_list_has_not_are_not_there_any_more() -> None:
    past = Past()
    past.build(a=3, gone=4)
    past.build(a=5, b=6)
    assert past.asked().items == ("a", "b")
    assert past.asked().newest_ms == [4, 6]


def test_no_more_is_read_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    past = Past()
    for took_ms in (1, 1, 9):
        past.build(a=took_ms, b=took_ms)
    monkeypatch.setattr(durations, "ITEMS_MAX", 3)
    assert past.asked().took_ms == {"a": 9, "b": 9}
