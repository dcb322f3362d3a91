"""Caches in a folder: found by key or beginning, of the same paths and tree only, and gone when there is no room."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from surveil.execute.collect.cupboard import Cupboard
from surveil.protocol import CacheFound, Deposit, Deposited, DoubtBlob, Fetch, KeepCache, Piece, SeekCache

PATHS = ("~/.cache",)


def keep(cupboard: Cupboard, key: str, data: bytes, *, paths: tuple[str, ...] = PATHS) -> str:
    """Keep these bytes in two pieces; their digest."""
    blob, half = hashlib.sha256(data).hexdigest(), len(data) // 2
    asked = Deposit(id=1, job="1/a", attempt=1, blob=blob, size=len(data), at=0)
    assert cupboard.answer(asked) == Deposited(id=1, upto=0)
    cupboard.answer(Deposit(id=1, job="1/a", attempt=1, blob=blob, size=len(data), at=0, data=data[:half]))
    told = cupboard.answer(Deposit(id=1, job="1/a", attempt=1, blob=blob, size=len(data), at=half, data=data[half:]))
    assert told == Deposited(id=1, upto=len(data), whole=True)
    noted = KeepCache(id=2, job="1/a", attempt=1, key=key, paths=paths, blob=blob, size=len(data))
    assert cupboard.answer(noted) == Deposited(id=2, whole=True)
    return blob


def seek(cupboard: Cupboard, key: str, *beginnings: str, paths: tuple[str, ...] = PATHS) -> str:
    found = cupboard.answer(SeekCache(id=3, job="1/a", attempt=1, key=key, restore_keys=beginnings, paths=paths))
    assert isinstance(found, CacheFound)
    return found.key


def age(root: Path, blob: str, seconds: int) -> None:
    os.utime(root / f"{blob}.tar", (seconds, seconds))


def test_a_key_is_found_and_else_the_newest_with_its_beginning(tmp_path: Path) -> None:
    cupboard = Cupboard(tmp_path, "/tree")
    assert seek(cupboard, "a-1", "a-") == ""
    blob = keep(cupboard, "a-1", b"first one")
    assert seek(cupboard, "a-1") == "a-1"
    assert seek(cupboard, "a-2", "b-", "a-") == "a-1"
    assert seek(cupboard, "a-2", "b-") == ""
    assert seek(cupboard, "a-1", "a-", paths=("~/other",)) == ""
    assert seek(Cupboard(tmp_path, "/other"), "a-1", "a-") == ""
    piece = cupboard.answer(Fetch(id=4, job="1/a", attempt=1, blob=blob, at=6))
    assert piece == Piece(id=4, at=6, data=b"one")


def test_what_is_damaged_or_gone_is_a_miss(tmp_path: Path) -> None:
    cupboard = Cupboard(tmp_path, "/tree")
    blob = keep(cupboard, "a", b"bytes")
    wrong = Deposit(id=1, job="1/a", attempt=1, blob="0" * 64, size=5, at=0, data=b"other")
    told = cupboard.answer(wrong)
    assert isinstance(told, Deposited)
    assert "is not what it is called" in told.problem
    assert cupboard.answer(DoubtBlob(id=5, job="1/a", attempt=1, blob=blob)) == Deposited(id=5, whole=True)
    assert seek(cupboard, "a") == ""
    gone = cupboard.answer(Fetch(id=4, job="1/a", attempt=1, blob=blob, at=0))
    assert isinstance(gone, Piece)
    assert gone.problem
    (next(tmp_path.glob("*/*.json"))).write_text("{")
    assert seek(cupboard, "a") == ""


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cupboard = Cupboard(tmp_path, "/tree")
    for number in range(4):
        age(tmp_path, keep(cupboard, f"k{number}", bytes([number]) * 100), 1_000 + number)
    assert seek(cupboard, "k0") == "k0"  # It is used, so it is the youngest now.
    cupboard.sweep(bytes_max=250)
    assert [seek(cupboard, f"k{number}") for number in range(4)] == ["k0", "", "", "k3"]
    assert len(list(tmp_path.glob("*/*.json"))) == 2
