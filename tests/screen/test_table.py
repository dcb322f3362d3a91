"""Tables in terminals of any width."""

import random

import pytest

from surveil.screen.table import Column, cells, fitted_lines, folded, plain_lines, shortened

COLUMNS = (
    Column(name="id"),
    Column(name="state", states=True),
    Column(name="repository", least=6, drop=1),
    Column(name="age", drop=2),
    Column(name="message", least=8),
)
ROWS = [
    ["1", "passed", "surveil", "3 min", "Say where"],
    ["12", "failed", "a-rather-long-name", "5 h", "Explain at length what nobody asked for"],
]
MORE = "\N{HORIZONTAL ELLIPSIS}"


def fitted(width: int) -> list[str]:
    return list(fitted_lines(COLUMNS, ROWS, width, lambda _column, _text, padded: padded))


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert fitted(100) == [
        "id  state   repository          age    message",
        "1   passed  surveil             3 min  Say where",
        "12  failed  a-rather-long-name  5 h    Explain at length what nobody asked for",
    ]


def test_the_widest_columns_give_way_first() -> None:
    assert fitted(60) == [
        "id  state   repository          age    message",
        "1   passed  surveil             3 min  Say where",
        f"12  failed  a-rather-long-name  5 h    Explain at length wh{MORE}",
    ]


def test_the_least_useful_columns_are_left_out_next() -> None:
    assert fitted(30) == [
        f"id  state   reposit{MORE}  message",
        f"1   passed  surveil   Say whe{MORE}",
        f"12  failed  a-rathe{MORE}  Explain{MORE}",
    ]
    assert fitted(24)[0].split() == ["id", "state", "message"]


def test_no_line_is_wider_than_the_screen_whatever_is_in_it() -> None:
    dice = random.Random(3)
    alphabet = "abc \N{SNOWMAN}\u4e2d\u0301"
    for _ in range(300):
        rows = [["".join(dice.choices(alphabet, k=dice.randint(0, 30))) for _ in COLUMNS] for _ in range(4)]
        width = dice.randint(20, 120)
        rows = [[row[0][:3], row[1][:3], *row[2:]] for row in rows]
        for line in fitted_lines(COLUMNS, rows, width, lambda _column, _text, padded: padded):
            assert cells(line) <= width, (line, width)


def test_a_column_in_which_nothing_stands_is_left_out_on_a_terminal_only() -> None:
    columns, rows = (Column(name="job"), Column(name="reason")), [["lint", ""]]
    assert list(fitted_lines(columns, rows, 80, lambda _column, _text, padded: padded)) == ["job", "lint"]
    assert list(plain_lines(columns, rows)) == ["JOB   REASON", "lint"]


def test_a_program_gets_everything_whatever_its_width() -> None:
    rows = [["1", "x" * 500]]
    columns = (Column(name="id"), Column(name="text", least=5))
    assert list(plain_lines(columns, rows)) == ["ID  TEXT", f"1   {'x' * 500}"]


def test_a_sentence_goes_on_in_its_column() -> None:
    columns = (Column(name="job"), Column(name="reason", folds=True))
    rows = [["deploy", "no online runner has label gpu: start one with `surveil runner --label gpu`"]]
    assert list(fitted_lines(columns, rows, 40, lambda _column, _text, padded: padded)) == [
        "job     reason",
        "deploy  no online runner has label gpu:",
        "        start one with",
        "        `surveil runner --label gpu`",
    ]


def test_a_command_is_never_broken_and_a_long_word_is() -> None:
    assert folded("type `surveil runner --label gpu` there", 10) == ["type", "`surveil runner --label gpu`", "there"]
    assert folded("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert folded("", 10) == [""]


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, f"ab{MORE}"),
        ("ab cd", 4, f"ab{MORE}"),
        ("\u4e2d\u6587\u5b57", 4, f"\u4e2d{MORE}"),
    ],
)
def test_what_is_cut_says_so(text: str, width: int, short: str) -> None:
    assert shortened(text, width) == short
    assert cells(short) <= width


def test_a_state_has_its_colour_and_a_branch_of_the_same_name_has_none() -> None:
    columns = (Column(name="state", states=True), Column(name="ref"))

    def twice(column: Column, _text: str, padded: str) -> str:
        return padded * 2 if column.states else padded

    assert list(fitted_lines(columns, [["failed", "failed"]], 80, twice))[1] == "failedfailed  failed"
