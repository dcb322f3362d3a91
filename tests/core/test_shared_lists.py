"""Shared lists as they travel, and what is refused."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.core.shared_lists import (
    ITEM_CHARACTERS_MAX,
    ITEMS_MAX,
    LIST_BYTES_MAX,
    is_plain,
    pack,
    unpack,
    wrong_with,
)
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


@pytest.mark.parametrize(
    "bomb",
    [b"[" + b"[]," * 400_000 + b"[]]", b"[" + b'"",' * 1_100_000 + b'""]', b'"' * 10**6],
    ids=lambda bomb: bomb[:4],
)
def test_what_takes_far_more_memory_than_bytes_is_not_read(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(ValueError, match="no list of texts"):
        unpack(zlib.compress(bomb))


def test_a_text_without_an_end_is_looked_through_once() -> None:
    """Looked through from each quote on, it would take hours."""
    for nonsense in (b'"\\' * 1_000_000, b'"' + b"\\" * 1_000_001, b'a"b\\"' * 300_000):
        is_plain(nonsense)


@pytest.mark.parametrize("item", ["test[1,2]", '"', "\\", '[["', "{}" * 1000, "\n", "ü", '\\"'])
def test_what_stands_in_a_text_does_not_count(item: str) -> None:
    items = [f"{number:04}{item}" for number in range(1000)]
    assert is_plain(json.dumps({"items": items, "done": [[one, "passed", 3] for one in items]}, indent=2).encode())
    assert unpack(pack(items)[1]) == items


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
