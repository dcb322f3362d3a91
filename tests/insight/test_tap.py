"""TAP as its versions have it, and as it comes."""

from hypothesis import given
from hypothesis import strategies as st

from surveil.insight import NAME_CHARACTERS_MAX, Problem
from surveil.insight.tap import LINE_BYTES_MAX, read_tap
from surveil.protocol import Case
from tests.insight.test_junit import sorted_out, states


def read(text: str | bytes, piece: int = 1 << 20) -> tuple[list[Case], list[Problem]]:
    data = text.encode() if isinstance(text, str) else text
    return sorted_out(read_tap(data[at : at + piece] for at in range(0, len(data), piece)))


def case(name: str, state: str = "passed", **more: object) -> Case:
    fields: dict[str, object] = {"suite": "", "duration_ms": 0, "name": name, "state": state} | more
    return Case(**fields)  # type: ignore[arg-type]


def test_points_directives_and_plans_are_read() -> None:
    cases, problems = read(
        "TAP version 13\n1..5\nok 1 - adds\nsome output\nnot ok 2 - falls\nok 3 - rolls # SKIP squares do not\n"
        "not ok 4 - flies # todo wings\nok\n"
    )
    assert problems == []
    assert cases == [
        case("adds"),
        case("falls", "failed"),
        case("rolls", "skipped", message="squares do not"),
        case("flies", "skipped", message="wings"),
        case("test without a number"),
    ]


def test_diagnostics_give_a_test_its_time_and_its_message() -> None:
    text = (
        "TAP version 14\nnot ok 1 - falls\n  ---\n  duration_ms: 12.4\n  error: 'it stood'\n  at: |-\n    line 7\n"
        "  ...\n1..1\n"
    )
    assert read(text) == (
        [case("falls", "failed", duration_ms=12, message="it stood", output="error: 'it stood'\nat: |-\n  line 7")],
        [],
    )


def test_subtests_are_counted_one_by_one_and_their_sum_is_not() -> None:
    text = (
        "TAP version 14\n# Subtest: round\n    ok 1 - rolls\n    # Subtest: deep\n        not ok 1 - falls\n"
        "        1..1\n    not ok 2 - deep\n    1..2\nnot ok 1 - round\nok 2 - alone\n1..2\n"
    )
    cases, problems = read(text)
    assert problems == []
    assert [(one.suite, one.name, one.state) for one in cases] == [
        ("round", "rolls", "passed"),
        ("round > deep", "falls", "failed"),
        ("", "alone", "passed"),
    ]


def test_a_subtest_that_failed_by_itself_is_counted() -> None:
    cases, problems = read("    ok 1 - inside\n    1..2\nnot ok 1 - group\n1..1\n")
    assert states(cases) == {"inside": "passed", "group": "failed"}
    assert [problem.sentence for problem in problems] == ["the plan has 2 tests, and 1 were run"]


def test_a_plan_that_was_not_fulfilled_and_one_that_never_came_are_said() -> None:
    assert [one.sentence for one in read("1..3\nok 1\n")[1]] == ["the plan has 3 tests, and 1 were run"]
    assert ["no plan" in one.sentence for one in read("ok 1\n")[1]] == [True]
    assert read("1..0 # SKIP nothing to do\n") == ([], [])


def test_a_stream_that_bails_out_ends_there() -> None:
    cases, problems = read("1..9\nok 1 - adds\nBail out! the database is gone\nnot ok 2\n")
    assert cases == [case("adds"), case("Bail out!", "errored", message="the database is gone")]
    assert problems == []


def test_what_is_no_tap_is_told_apart() -> None:
    for text in ("", "hello\n", "<testsuite/>", "\x00" * 100):
        assert read(text) == ([], [Problem("it is no TAP: it has neither a plan nor a test", foreign=True)])


def test_times_behind_a_hash_are_read() -> None:
    assert read("ok 1 - adds # time=12.5ms\nok 2 - rolls # time=2s\n1..2\n")[0] == [
        case("adds", duration_ms=12), case("rolls", duration_ms=2000),
    ]  # fmt: skip


def test_a_line_without_end_is_cut() -> None:
    cases, _ = read(b"ok 1 - " + b"x" * (3 * LINE_BYTES_MAX) + b"\n1..1\n", 1000)
    assert [len(one.name) for one in cases] == [NAME_CHARACTERS_MAX]


LINES = st.sampled_from(
    ["TAP version 14", "1..2", "ok 1 - a", "not ok 2 - b # todo c", "# Subtest: s", "---", "...", "duration_ms: 3",
     "Bail out! x", "message: m", "1..99999999999", "ok 9999999999999", "\x00", "ü", "not ok"]
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 14), LINES), max_size=20), st.integers(1, 30))
def test_whatever_lines_come_nothing_is_raised_and_pieces_make_no_difference(
    lines: list[tuple[int, str]], piece: int
) -> None:
    text = "".join(f"{' ' * indent}{line}\n" for indent, line in lines)
    cases, problems = read(text, piece)
    assert (cases, problems) == read(text)
    assert all("\x00" not in one.name for one in cases)
