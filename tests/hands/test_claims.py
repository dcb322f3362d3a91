"""Whose attempts a runner speaks of: what is its own, what never was, and what nobody can tell any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from surveil.hands.claims import not_its_own
from surveil.protocol import Accepted, Bye, Held, Message, Progress, Rejected
from tests.integration.forgeries import beat, finished, hello

STATE: Any = SimpleNamespace(
    attempts={("1/test", 1): SimpleNamespace(runner="other"), ("1/test", 2): SimpleNamespace(runner="own")},
    jobs={"1/test": SimpleNamespace(attempt=2)},
)


def holds(*ids: tuple[str, int]) -> tuple[Held, ...]:
    return tuple(Held(job=job, attempt=number, finished=False, log_bytes=0) for job, number in ids)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (Accepted(job="1/test", attempt=2), 0),
        (Accepted(job="1/test", attempt=1), 1),
        (Rejected(job="1/test", attempt=3, reason=""), 1),
        (Progress(job="1/test", attempt=0, steps=()), 1),
        (finished("passed", job="9/test"), 0),
        (beat(held=holds(("1/test", 1), ("1/test", 2), ("1/test", 3), ("9/x", 1))), 2),
        (hello(held=holds(("1/test", 1))), 1),
        (Bye(incarnation=1, returning=False), 0),
    ],
)
def test_what_is_not_its_own_is_counted(said: Message, count: int) -> None:
    assert not_its_own(STATE, "own", said) == count
