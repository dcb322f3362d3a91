"""Patterns that choose paths."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.core.globs import GLOBS_MAX, any_match, read_globs


@pytest.mark.parametrize(
    ("patterns", "path", "chosen"),
    [
        (["docs/**"], "docs/a.md", True),
        (["docs/**"], "docs/a/b.md", True),
        (["docs/**"], "docs", False),
        (["docs/"], "docs/a.md", True),
        (["docs/**"], "old/docs/a.md", False),
        (["**/docs/**"], "old/docs/a.md", True),
        (["*.md"], "README.md", True),
        (["*.md"], "docs/README.md", False),
        (["**/*.md"], "README.md", True),
        (["**/*.md"], "docs/deep/er/README.md", True),
        (["src/**/test_*.py"], "src/test_a.py", True),
        (["src/**/test_*.py"], "src/x/y/test_a.py", True),
        (["src/**/test_*.py"], "src/x/test_a/y.py", False),
        (["a/**/b/**/c"], "a/x/b/y/z/b/c", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["*a*b*c"], "xaybzc", True),
        (["*a*b*c"], "xayb/c", False),
        (["**"], "anything/at/all", True),
        (["*"], "a\nb", True),
        (["*"], "", False),
        (["docs/*"], "docs/", False),
        (["a.c"], "abc", False),
        (["**", "!docs/**"], "docs/a", False),
        (["!docs/**"], "src/a", True),
        (["!docs/**", "docs/**"], "docs/a", False),
    ],
)
def test_patterns_choose(patterns: list[str], path: str, chosen: bool) -> None:
    assert read_globs(tuple(patterns)).match(path) is chosen


@pytest.mark.parametrize(
    "pattern", ["", "!", "/a", "a//b", "./a", "a/../b", "[ab].c", "*.{c,h}", "a\\b", "**.js", "a**", "a\nb", "x" * 301]
)
def test_patterns_that_could_never_match_are_refused_in_a_printable_clause(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        read_globs((pattern,))
    assert str(refused.value).isprintable()


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 64"):
        read_globs(tuple(f"a{number}" for number in range(GLOBS_MAX + 1)))


def matches(pattern: list[str], path: list[str]) -> bool:
    """The same said slowly: every way is tried."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(matches(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and part_matches(pattern[0], path[0]) and matches(pattern[1:], path[1:])


def part_matches(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(part_matches(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and part_matches(pattern[1:], text[1:])


PARTS = st.one_of(st.just("**"), st.text("ab*?", min_size=1, max_size=5).filter(lambda part: "**" not in part))
PATHS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5)


@given(st.lists(PARTS, min_size=1, max_size=5), PATHS)
def test_the_quick_way_says_the_same_as_trying_every_way(pattern: list[str], path: list[str]) -> None:
    assert read_globs(("/".join(pattern),)).match("/".join(path)) is matches(pattern, path)


@pytest.mark.parametrize(
    "pattern", ["**/" * 60 + "b", "*a" * 100 + "*b", "/".join(["*a*a*"] * 50), "**/a/" * 40 + "b", "?*" * 80 + "b"]
)
def test_a_hostile_pattern_takes_no_longer_than_another(pattern: str) -> None:
    globs = read_globs((pattern,))
    start = time.process_time()
    for path in ("a" * 4000, "a/" * 2000 + "a", "aa/" * 1300 + "a"):
        assert not globs.match(path)
    assert time.process_time() - start < 1


def test_the_first_path_that_is_chosen_is_told() -> None:
    globs = read_globs(("docs/**",))
    assert any_match(globs, ["src/a", "docs/b", "docs/c"]) == "docs/b"
    assert any_match(globs, ["src/a"]) is None
