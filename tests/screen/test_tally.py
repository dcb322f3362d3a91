"""How many tests there were, by what everybody's test runner prints at its end."""

import pytest

from surveil.screen.tally import LINE_BYTES_MAX, Tally, total


def words(output: bytes) -> str:
    tally = Tally()
    for at in range(0, len(output), 7):
        tally.feed(output[at : at + 7])
    tally.finish()
    return tally.words()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (b"===== 12 passed in 3.21s =====\n", "12 tests passed"),
        (b"\x1b[32m\x1b[1m1 passed\x1b[0m\x1b[32m in 0.01s\x1b[0m\n", "1 test passed"),
        (b"1 failed, 11 passed, 2 skipped, 1 error in 3s (0:00:03)\n", "11 of 13 tests passed, 2 failed, 2 skipped"),
        (b"...\nRan 3 tests in 0.001s\n\nOK\n", "3 tests passed"),
        (b"Ran 9 tests in 0.1s\n\nFAILED (failures=1, errors=1, skipped=2)",
         "5 of 7 tests passed, 2 failed, 2 skipped"),
        (b"test result: ok. 4 passed; 0 failed; 1 ignored\ntest result: ok. 2 passed; 0 failed\n",
         "6 tests passed, 1 skipped"),
        (b"Test Suites: 2 passed, 2 total\nTests:       1 failed, 9 passed, 10 total\n",
         "9 of 10 tests passed, 1 failed"),
        (b"# tests 3\n# pass 2\n# fail 1\n", "2 of 3 tests passed, 1 failed"),
        (b"=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- PASS: TestA/sub (0.00s)\n--- SKIP: TestB\n",
         "1 test passed, 1 skipped"),
        (b"nothing of the kind\nOK\nI passed 3 in 2.0s\n", ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_closing_lines_are_recognised(output: bytes, said: str) -> None:
    assert words(output) == said


def test_an_endless_line_is_not_kept() -> None:
    assert words(b"x" * (3 * LINE_BYTES_MAX) + b"\n2 passed in 1.0s\n") == "2 tests passed"


def test_the_tests_of_several_jobs_are_added_up() -> None:
    one, other = Tally(), Tally()
    one.feed(b"2 passed in 1.0s\n")
    other.feed(b"1 failed, 3 passed in 1.0s\n")
    assert total([one, other]).words() == "5 of 6 tests passed, 1 failed"
    assert total([]).words() == ""
