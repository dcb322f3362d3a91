"""What commands print: tables, facts and documents, for people and for programs."""

import pytest

from surveil.screen import printing
from surveil.screen.printing import print_facts, print_json, print_table
from surveil.screen.table import Column

ID, NAME, STATE = Column(name="id"), Column(name="name"), Column(name="state", states=True)


def test_a_table_is_aligned_and_inert_text_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([ID, NAME], [["1", "a\nb"], ["100", "\x1b[31mred"]])
    assert (
        capsys.readouterr().out
        == "ID   NAME\n1    a\N{REPLACEMENT CHARACTER}b\n100  \N{REPLACEMENT CHARACTER}[31mred\n"
    )


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_table_on_a_terminal_has_colours_unless_they_are_unwelcome(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_colour: bool
) -> None:
    monkeypatch.setattr(printing, "is_terminal", lambda _stream: True)
    monkeypatch.setattr(printing, "colourful", lambda _stream: not no_colour)
    monkeypatch.setenv("COLUMNS", "80")
    print_table([ID, STATE], [["1", "failed"]])
    out = capsys.readouterr().out
    assert "failed" in out
    assert ("\x1b[31m" in out) is not no_colour


def test_json_is_ascii_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"message": "\u202e\x9b☃"})
    assert capsys.readouterr().out.isascii()


def test_a_long_fact_goes_on_below_itself_on_a_terminal_and_is_whole_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = [("why", "no runner fits: type `surveil runner --label gpu` there"), ("empty", "")]
    print_facts(facts)
    assert capsys.readouterr().out == "why  no runner fits: type `surveil runner --label gpu` there\n"
    monkeypatch.setattr(printing, "is_terminal", lambda _stream: True)
    monkeypatch.setattr(printing, "colourful", lambda _stream: False)
    monkeypatch.setenv("COLUMNS", "40")
    print_facts(facts)
    assert capsys.readouterr().out == ("why  no runner fits: type\n     `surveil runner --label gpu` there\n")
