"""Shared lists as they travel, and what is refused."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.core.shared_lists import ITEM_CHARACTERS_MAX, ITEMS_MAX, LIST_BYTES_MAX, pack, unpack, wrong_with
from surveil.core.shared_lists import wrong_with_packed as wrong


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)).map(sorted))
def test_lists_come_back_as_they_were(items: list[str]) -> None:
    digest, data = pack(items)
    assert unpack(data) == items
    assert wrong(digest, data) == ""


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        (["b", "a"], "not sorted, or has an item twice"),
        (["a", "a"], "not sorted, or has an item twice"),
        (["x" * (ITEM_CHARACTERS_MAX + 1)], "the name of an item is longer"),
        ([f"{number:06}" for number in range(ITEMS_MAX + 1)], "100001 items are more than"),
    ],
)
def test_lists_that_shards_cannot_share_are_refused(items: list[str], sentence: str) -> None:
    assert sentence in wrong_with(items)


def test_a_list_that_is_too_large_even_when_packed_is_refused() -> None:
    dice = random.Random(1)
    assert "once it is packed" in wrong_with(sorted(dice.randbytes(100).hex() for _ in range(10_000)))


def test_bytes_that_are_no_list_are_refused_and_a_bomb_does_not_go_off() -> None:
    bomb = zlib.compress(b"[" + b" " * (LIST_BYTES_MAX * 4) + b"]")
    deep = zlib.compress(b"[" * 1_000_000)
    for data in (b"", b"nonsense", bomb, deep, pack(["a"])[1][:-3], zlib.compress(b"{}"), zlib.compress(b"[1]")):
        assert wrong("0" * 64, data).startswith("the list of what is to be shared cannot be read: ")
    assert "digest" in wrong("0" * 64, pack(["a"])[1])
    assert json.loads(zlib.decompress(pack(["ä"])[1])) == ["ä"]
