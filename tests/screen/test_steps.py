"""Where the output of each step begins."""

from typing import Any

from surveil.screen.steps import Remark, StepHeads


def step(name: str, state: str, log_at: int | None) -> dict[str, Any]:
    return {"name": name, "state": state, "log_at": log_at}


TWO = [step("Build", "passed", 0), step("Tests\nall", "running", 6)]


def test_a_heading_stands_before_the_first_byte_of_each_step() -> None:
    assert list(StepHeads().split(0, b"first\nsecond\n", TWO)) == [
        "step 1 of 2: Build, passed",
        b"first\n",
        "step 2 of 2: Tests",
        b"second\n",
    ]


def test_pieces_of_any_size_make_no_difference() -> None:
    heads = StepHeads()
    parts = [part for at in range(13) for part in heads.split(at, b"first\nsecond\n"[at : at + 1], TWO)]
    assert [part for part in parts if isinstance(part, str)] == ["step 1 of 2: Build, passed", "step 2 of 2: Tests"]
    assert parts.index("step 2 of 2: Tests") == 7
    assert b"".join(part for part in parts if isinstance(part, bytes)) == b"first\nsecond\n"


def test_a_step_alone_needs_no_words() -> None:
    heads = StepHeads()
    assert list(heads.split(0, b"x", TWO[:1])) == [b"x"]
    assert list(heads.finish(TWO[:1])) == []


def test_of_the_end_of_a_log_the_step_that_it_belongs_to_is_told() -> None:
    assert list(StepHeads().split(9, b"nd\n", TWO)) == ["step 2 of 2: Tests", b"nd\n"]


def test_a_step_that_is_heard_of_late_is_told_late() -> None:
    heads = StepHeads()
    known = [TWO[0], step("Tests", "pending", None)]
    assert list(heads.split(0, b"first\nse", known)) == ["step 1 of 2: Build, passed", b"first\nse"]
    assert list(heads.split(8, b"cond\n", TWO)) == ["step 2 of 2: Tests", b"cond\n"]


def test_steps_that_printed_nothing_are_told_at_the_end_and_those_that_never_began_are_not() -> None:
    heads = StepHeads()
    steps = [TWO[0], step("Quiet", "failed", 6), step("Never", "skipped", None)]
    list(heads.split(0, b"first\n", steps))
    assert list(heads.finish(steps)) == ["step 2 of 3: Quiet, failed"]


def test_a_step_that_has_printed_nothing_is_told_as_soon_as_it_is_known_to_have_begun() -> None:
    heads = StepHeads()
    assert list(heads.split(0, b"", [TWO[0], step("Tests", "pending", None)])) == ["step 1 of 2: Build, passed", b""]
    assert list(heads.split(0, b"first\n", TWO)) == [b"first\n"]
    assert list(heads.split(6, b"", TWO)) == ["step 2 of 2: Tests", b""]
    assert list(heads.split(6, b"second\n", TWO)) == [b"second\n"]
    assert list(heads.finish(TWO)) == []


def test_a_remark_stands_behind_what_it_is_about_and_before_the_next_step() -> None:
    dropped = {"at": 6, "text": "3 bytes were dropped"}
    steps = [{**TWO[0], "remarks": [dropped]}, TWO[1]]
    parts = list(StepHeads().split(0, b"first\nsecond\n", steps))
    assert parts == [
        "step 1 of 2: Build, passed",
        b"first\n",
        "3 bytes were dropped",
        "step 2 of 2: Tests",
        b"second\n",
    ]
    assert [part.at for part in parts if isinstance(part, Remark)] == [6]


def test_a_remark_on_a_step_alone_is_told_once_at_the_end_of_a_piece_or_of_the_log() -> None:
    heads = StepHeads()
    alone = [{**TWO[0], "remarks": [{"at": 4, "text": "one"}, {"at": 9, "text": "two"}]}]
    assert list(heads.split(0, b"1234", alone)) == [b"1234", "one", b""]
    assert list(heads.split(4, b"5", alone)) == [b"5"]
    assert list(heads.finish(alone)) == ["two"]
    assert list(heads.finish(alone)) == []


def test_of_the_end_of_a_log_earlier_remarks_are_not_told() -> None:
    alone = [{**TWO[0], "remarks": [{"at": 2, "text": "old"}, {"at": 6, "text": "new"}]}]
    assert list(StepHeads().split(4, b"56", alone)) == [b"56", "new", b""]
