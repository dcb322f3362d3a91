"""How people write durations and names, and how strangers' texts are shown to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.core.spelling import (
    DURATION_MS_MAX,
    QUOTED_CHARACTERS_MAX,
    closest,
    did_you_mean,
    format_duration,
    parse_duration,
    printable,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0s", 0),
        ("500ms", 500),
        ("90s", 90_000),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
    ],
)
def test_durations_are_numbers_with_units(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1.5h", "1 h", "1H", "10s ", "٣s", "1s" * 40, "9999999999999s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_more_than_a_year_is_a_mistake() -> None:
    assert parse_duration("366d") == DURATION_MS_MAX
    with pytest.raises(ValueError, match="longer than a year"):
        parse_duration("367d")


@given(st.integers(0, DURATION_MS_MAX))
def test_what_is_written_is_read_as_the_same_duration(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


def test_durations_are_written_in_the_largest_unit_that_divides_them() -> None:
    assert [format_duration(ms) for ms in (0, 1, 90_000, 7_200_000, 86_400_000)] == ["0s", "1ms", "90s", "2h", "1d"]


def test_a_near_miss_is_found_whatever_its_case_and_dashes() -> None:
    assert closest("Continue-On-Error", ["run", "continue_on_error"]) == "continue_on_error"
    assert closest("zzz", ["run"]) is None
    assert closest("run" * 1000, ["run"]) is None


def test_the_hint_for_an_unknown_word_is_the_near_miss_or_what_is_known() -> None:
    assert did_you_mean("rnu", ["run", "env"]) == "did you mean `run`?"
    assert did_you_mean("zzz", ["run", "env"]) == "known are `env`, `run`"
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [f"k{n:02}" for n in range(30)]).endswith("`k19` and others")


@given(st.text())
def test_a_strangers_text_is_shown_inert_and_short(text: str) -> None:
    assert printable(text).isprintable()
    assert len(quoted(text)) <= QUOTED_CHARACTERS_MAX + 2
