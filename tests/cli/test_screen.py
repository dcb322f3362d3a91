"""How things look: tables, ages and durations."""

from datetime import UTC, datetime

import pytest

from surveil.cli import screen
from surveil.cli.screen import age, print_json, print_table, span, took

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0.0 s"),
        (440, "0.4 s"),
        (9_990, "9.9 s"),
        (12_345, "12 s"),
        (60_000, "1 min"),
        (185_000, "3 min 5 s"),
        (7_800_000, "2 h 10 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_in_the_units_that_matter(duration_ms: int, text: str) -> None:
    assert span(duration_ms) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, ""),
        ("2026-01-02T03:04:04.500Z", "0 s"),
        ("2026-01-02T03:04:09.000Z", "0 s"),
        ("2026-01-02T03:01:00.000Z", "3 min"),
        ("2025-12-31T03:01:00.000Z", "2 d"),
    ],
)
def test_ages_are_one_unit_and_never_negative(at: str | None, text: str) -> None:
    assert age(at, NOW) == text


def test_what_has_not_begun_took_no_time() -> None:
    assert took(None, None) == ""
    assert took("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:06.500Z") == "1.5 s"


def test_a_table_is_aligned_and_inert_text_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "name"], [["1", "a\nb"], ["100", "\x1b[31mred"]])
    assert (
        capsys.readouterr().out
        == "ID   NAME\n1    a\N{REPLACEMENT CHARACTER}b\n100  \N{REPLACEMENT CHARACTER}[31mred\n"
    )


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_table_on_a_terminal_has_colours_unless_they_are_unwelcome(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_colour: bool
) -> None:
    monkeypatch.setattr(screen, "is_terminal", lambda _stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    print_table(["id", "state"], [["1", "failed"]])
    out = capsys.readouterr().out
    assert "failed" in out
    assert ("\x1b[31m" in out) is not no_colour


def test_json_is_ascii_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"message": "\u202e\x9b☃"})
    assert capsys.readouterr().out.isascii()
