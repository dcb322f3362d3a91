"""What a finished build means for its ref."""

from __future__ import annotations

import itertools

import pytest

from surveil.core.model import Status
from surveil.core.turns import Ended, News, Turn, turn_of

STATES = {"P": Status.PASSED, "F": Status.FAILED, "E": Status.ERRORED, "C": Status.CANCELLED, "S": Status.SKIPPED}


def row(states: str) -> list[Ended]:
    """Builds 1, 2, ... that ended one after the other."""
    return [Ended(id=at, state=STATES[state], finished_at=at * 10) for at, state in enumerate(states, start=1)]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("P", (News.PASSED, None, None)),
        ("F", (News.BROKEN, None, 1)),
        ("PF", (News.BROKEN, 1, 2)),
        ("PE", (News.BROKEN, 1, 2)),
        ("PFF", (News.STILL_FAILING, 2, 2)),
        ("PFEF", (News.STILL_FAILING, 3, 2)),
        ("PFFP", (News.FIXED, 3, 2)),
        ("PFPP", (News.PASSED, 3, None)),
        ("FP", (News.FIXED, 1, 1)),
        ("PFPF", (News.BROKEN, 3, 4)),
        ("PFCSF", (News.STILL_FAILING, 2, 2)),
        ("PFCP", (News.FIXED, 2, 2)),
        ("PCF", (News.BROKEN, 1, 3)),
        ("PFC", None),
        ("FS", None),
    ],
)
def test_a_build_is_compared_with_the_last_one_of_its_ref_that_says_anything(
    states: str, expected: tuple[News, int | None, int | None] | None
) -> None:
    *others, build = row(states)
    turn = None if expected is None else Turn(news=expected[0], after=expected[1], broken_by=expected[2])
    for order in itertools.islice(itertools.permutations([*others, build]), 24):
        assert turn_of(build, order) == turn, "the order in which they are read means nothing"


def test_a_build_that_ends_after_a_newer_one_says_nothing() -> None:
    newer = Ended(id=3, state=Status.PASSED, finished_at=50)
    assert turn_of(Ended(id=2, state=Status.FAILED, finished_at=60), [newer]) is None
    assert turn_of(Ended(id=2, state=Status.FAILED, finished_at=60), [newer, *row("P")]) is None


def test_what_ended_later_changes_nothing_of_what_a_build_meant() -> None:
    build = Ended(id=2, state=Status.FAILED, finished_at=20)
    later = [Ended(id=1, state=Status.PASSED, finished_at=30), Ended(id=3, state=Status.PASSED, finished_at=25)]
    assert turn_of(build, later) == Turn(news=News.BROKEN, after=None, broken_by=2)


def test_of_two_that_end_at_once_the_older_one_counts_as_first() -> None:
    first = Ended(id=1, state=Status.FAILED, finished_at=20)
    second = Ended(id=2, state=Status.PASSED, finished_at=20)
    assert turn_of(first, [second]) == Turn(news=News.BROKEN, after=None, broken_by=1)
    assert turn_of(second, [first]) == Turn(news=News.FIXED, after=1, broken_by=1)
