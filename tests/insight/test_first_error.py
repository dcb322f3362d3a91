"""Where in a job's output the trouble begins."""

from __future__ import annotations

import pytest

from surveil.insight.first_error import LINE_CHARACTERS_MAX, FirstError, plain_line


def look(text: str, most: int = 3) -> list[str]:
    first = FirstError(most)
    first.feed(text.encode())
    return list(first.lines())


@pytest.mark.parametrize(
    "line",
    [
        "src/a.c:3:5: error: expected ';' before '}' token",
        "E       assert 1 == 2",
        "FAILED tests/test_a.py::test_b - assert 1 == 2",
        "Traceback (most recent call last):",
        "ValueError: no",
        "thread 'main' panicked at src/main.rs:2:5",
        "sh: 1: mvn: command not found",
        "not ok 3 - adds",
        "--- FAIL: TestAdd (0.00s)",
        "\x1b[31merror\x1b[0m: could not compile",
    ],
)
def test_trouble_is_found_by_the_words_of_the_tools_with_what_comes_after_it(line: str) -> None:
    found = look(f"compiling\n10 passed, 0 failed\nno errors found\n{line}\nmore\n\nlast\n")
    assert found[0].endswith(line.replace("\x1b[31m", "").replace("\x1b[0m", ""))
    assert found[1:] == ["more"]


def test_where_nothing_speaks_of_trouble_the_last_lines_are_shown() -> None:
    assert look("one\ntwo\n\nthree\nfour\n\n") == ["two", "three", "four"]
    assert look("") == []


def test_no_more_is_read_once_there_is_enough() -> None:
    first = FirstError(2)
    first.feed(b"error\na")
    assert first.enough
    first.feed(b"error")
    assert first.lines() == ("error", "a")


def test_lines_are_inert_and_short() -> None:
    assert plain_line(b"10%\r50%\rdone\r\n") == "done"
    assert (
        plain_line(b"\x1b]8;;javascript:x\x07a\x1b]8;;\x07\x1b[2Jb\x00\xff") == "ab" + 2 * "\N{REPLACEMENT CHARACTER}"
    )
    long = plain_line(b"x" * 100_000)
    assert len(long) == LINE_CHARACTERS_MAX
    assert long.endswith("…")
