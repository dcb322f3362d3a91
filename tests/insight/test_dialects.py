"""Reports that test runners really wrote; `reports/README.md` says which, and how."""

from pathlib import Path

import pytest

from surveil.insight.junit import read_junit
from surveil.insight.tap import read_tap
from tests.insight.test_junit import sorted_out

REPORTS = Path(__file__).parent / "reports"
P, F, E, S = "passed", "failed", "errored", "skipped"

EXPECTED = {
    "pytest.xml": {
        ("test_shapes", "test_adds"): (P, ""),
        ("test_shapes", "test_words[plain]"): (P, ""),
        ("test_shapes", "test_words[\\xfc]"): (F, "AssertionError: assert False"),
        ("test_shapes", "test_words[\\x1b[31mred]"): (P, ""),
        ("test_shapes", "test_words[a<b&c]"): (P, ""),
        ("test_shapes", "test_fails"): (F, "AssertionError: they differ"),
        ("test_shapes", "test_error"): (E, 'failed on setup with "RuntimeError: the fixture broke"'),
        ("test_shapes", "test_skipped"): (S, "not on this machine"),
        ("test_shapes", "test_expected"): (S, "known"),
        ("test_shapes.TestGroup", "test_inside"): (P, ""),
        ("test_shapes.Old", "test_old"): (P, ""),
        ("test_shapes.Old", "test_sub"): (F, "AssertionError: 1 == 1"),
    },
    "unittest.xml": {
        ("ut.Shapes", "test_adds"): (P, ""),
        ("ut.Shapes", "test_fails"): (F, "Lists differ: [1] != [2]"),
        ("ut.Shapes", "test_parts (n=1)"): (F, "1 == 1"),
        ("ut.Shapes", "test_breaks"): (E, "broke [31m here"),
        ("ut.Shapes", "test_skipped"): (S, "not on this machine"),
        ("ut.Shapes", "test_expected"): (S, "expected failure: (<class"),
    },
    "gotestsum.xml": {
        ("example.org/shapes", "TestAdds"): (P, ""),
        ("example.org/shapes", "TestFails"): (F, "shapes_test.go:7: got 1, want 2"),
        ("example.org/shapes", "TestSkipped"): (S, "shapes_test.go:9: not on this machine"),
        ("example.org/shapes", "TestParts/plain"): (P, ""),
        ("example.org/shapes", "TestParts/a<b&c"): (F, "shapes_test.go:15: it is not plain"),
        ("example.org/shapes", "TestParts"): (F, "Failed"),
    },
    "jest.xml": {
        ("", "adds"): (P, ""),
        ("", "fails"): (F, "Error: expect(received).toEqual(expected)"),
        ("", "skipped"): (S, ""),
        ("", "todo"): (P, ""),
        ("", "group inside"): (P, ""),
        ("", "group breaks"): (F, "Error: broke"),
    },
    "surefire.xml": {
        ("ShapesTest", "adds"): (P, ""),
        ("ShapesTest", "fails"): (F, "they differ expected:<1> but was:<2>"),
        ("ShapesTest", "breaks"): (E, "broke"),
        ("ShapesTest", "flaky"): (P, "passed after 1 failed"),
        ("ShapesTest", "skipped"): (S, "not on this machine"),
    },
    "ctest.xml": {
        ("", "adds"): (P, ""),
        ("", "fails"): (F, ""),
        ("", "skipped"): (S, "SKIP_RETURN_CODE=77"),
        ("", "disabled"): (S, ""),
        ("", "slow"): (F, ""),
        ("", "missing"): (S, "Unable to find executable"),
    },
    "cargo.xml": {
        ("tests", "adds"): (P, ""),
        ("tests", "panics"): (P, ""),
        ("tests", "fails"): (F, "assert"),
    },
    "node.xml": {
        ("test", "adds"): (P, ""),
        ("test", "fails"): (F, "they differ"),
        ("test", "skipped"): (S, "not on this machine"),
        ("test", "todo"): (S, "not yet"),
        ("test", "inside"): (P, ""),
        ("test", "fails inside"): (F, "broke"),
    },
    "node.tap": {
        ("", "adds"): (P, ""),
        ("", "fails"): (F, "they differ"),
        ("", "skipped"): (S, "not on this machine"),
        ("", "todo"): (S, "later on"),
        ("group", "inside"): (P, ""),
        ("group", "fails inside"): (F, "broke"),
    },
    "perl.tap": {
        ("", "adds"): (P, ""),
        ("", "fails"): (F, ""),
        ("", "test 3"): (S, "not on this machine"),
        ("", "todo"): (S, "later on"),
        ("group", "inside"): (P, ""),
        ("group", "hash # in its name"): (P, ""),
        ("bad group", "inside"): (P, ""),
        ("bad group", "fails inside"): (F, ""),
    },
    "bats.tap": {("", "adds"): (P, ""), ("", "fails"): (F, ""), ("", "skipped"): (S, "not on this machine")},
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_reports_of_real_test_runners_are_understood(name: str) -> None:
    data = (REPORTS / name).read_bytes()
    cases, problems = sorted_out((read_junit if name.endswith(".xml") else read_tap)([data]))
    assert problems == []
    found = {(case.suite, case.name): (case.state, case.message) for case in cases}
    assert found.keys() == EXPECTED[name].keys()
    assert {key: (state, message[: len(EXPECTED[name][key][1])]) for key, (state, message) in found.items()} == (
        EXPECTED[name]
    )


def test_every_report_is_looked_at_and_the_slow_ones_have_their_time() -> None:
    assert {path.name for path in REPORTS.iterdir()} == {*EXPECTED, "README.md"}
    times = {case.name: case.duration_ms for case in sorted_out(read_junit([(REPORTS / "ctest.xml").read_bytes()]))[0]}
    assert times["slow"] > 1000 > times["adds"] > 0
