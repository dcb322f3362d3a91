"""Where a test went wrong, by the words of test runners."""

import pytest

from surveil.insight.sources import Source, source_in


@pytest.mark.parametrize(
    ("said", "path", "line"),
    [
        (">       assert f(1)\n\ntests/test_it.py:12: \n_ _ _\nsrc/it.py:3: ValueError", "tests/test_it.py", 12),
        ("    it_test.go:31: got 1, want 2", "it_test.go", 31),
        ("--- FAIL\n    ./deep/it_test.go:31:4: no", "deep/it_test.go", 31),
        ("thread 't' panicked at src/lib.rs:10:5:\nassertion failed", "src/lib.rs", 10),
        ("at Object.<anonymous> (src/sum.test.js:5:17)", "src/sum.test.js", 5),
        ("(in test file test/it.bats, line 3)\ntest/it.bats:3", "test/it.bats", 3),
    ],
)  # fmt: skip
def test_a_place_within_the_work_tree_is_found(said: str, path: str, line: int) -> None:
    assert source_in("", said) == Source(path=path, line=line)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "AssertionError: 1 != 2",
        "/usr/lib/python3.12/unittest/case.py:58: no",
        "../other/it.py:3: no",
        "a/../../it.py:3: no",
        "C:\\work\\it.py:3",
        "https://example.org/it.py:3",
        "example.org:443 refused",
        "it.py:0",
        "it.py:99999999",
        "it.pyc:3",
        "a@b:it.py:3",
        "it.py:3.5",
    ],
)
def test_what_is_of_elsewhere_or_no_place_is_none(said: str) -> None:
    assert source_in(said) is None


def test_endless_text_is_looked_at_once() -> None:
    for said in ("a" * 1_000_000, "a/" * 500_000, "a." * 500_000, "it.py:" * 200_000):
        assert source_in(said) is None
