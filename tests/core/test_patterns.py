"""Patterns that choose refs."""

import time

import pytest

from surveil.core.patterns import PATTERNS_MAX, in_full, read_patterns
from surveil.errors import UsageError


@pytest.mark.parametrize(
    ("patterns", "ref", "chosen"),
    [
        ([], "refs/heads/main", True),
        ([], "refs/heads/feature/deep/er", True),
        ([], "refs/tags/v1", False),
        ([], "refs/pull/1/head", False),
        (["main"], "refs/heads/main", True),
        (["main"], "refs/heads/maintenance", False),
        (["main"], "refs/heads/x/main", False),
        (["release/*"], "refs/heads/release/1.0", True),
        (["release/*"], "refs/heads/release", False),
        (["tags/v*"], "refs/tags/v1", True),
        (["tags/v*"], "refs/heads/v1", False),
        (["refs/*"], "refs/notes/commits", True),
        (["*a*b*c"], "refs/heads/xaybzc", True),
        (["*a*b*c"], "refs/heads/xaybz", False),
        (["ab*ba"], "refs/heads/aba", False),
        (["ab*ba"], "refs/heads/abba", True),
        (["*", "!wip/*"], "refs/heads/wip/x", False),
        (["!wip/*"], "refs/heads/main", True),
        (["!wip/*", "wip/*"], "refs/heads/wip/x", False),
        (["HEAD"], "refs/heads/trunk", True),
        (["HEAD"], "refs/heads/main", False),
        (["HEAD", "!trunk"], "refs/heads/trunk", False),
        (["*", "!HEAD"], "refs/heads/HEAD", False),
        (["*", "!HEAD"], "refs/heads/trunk", True),
        (["*", "!tags/*"], "refs/heads/tags/x", True),
        ([r"caf\xe9"], r"refs/heads/caf\xe9", True),
    ],
)
def test_patterns_choose(patterns: list[str], ref: str, chosen: bool) -> None:
    assert read_patterns(patterns).match(ref, "refs/heads/trunk") is chosen
    assert read_patterns(map(in_full, patterns)).match(ref, "refs/heads/trunk") is chosen


@pytest.mark.parametrize(
    "pattern", ["", "!", "-x", "--all", "a b", "a..b", "/a", "a/", "a[b]", "a?b", "a^{}", "a:b", "\x1b", "x" * 301]
)
def test_patterns_that_could_never_match_are_refused_in_a_printable_sentence(pattern: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_patterns([pattern])
    assert str(refused.value).isprintable()


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(UsageError):
        read_patterns(["a"] * (PATTERNS_MAX + 1))


def test_a_hostile_pattern_takes_no_longer_than_another() -> None:
    patterns = read_patterns(["*a" * 100 + "*b"])
    start = time.process_time()
    assert not patterns.match("refs/heads/" + "a" * 480, None)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("patterns", "prefixes"),
    [
        ([], ("refs/heads/*",)),
        (["main", "tags/v*-rc*"], ("refs/heads/main", "refs/tags/v*")),
        (["HEAD"], ("refs/heads/*",)),
        ([r"caf\xe9"], ("refs/heads/caf*",)),
    ],
)
def test_a_remote_is_asked_for_no_more_than_could_match(patterns: list[str], prefixes: tuple[str, ...]) -> None:
    assert read_patterns(patterns).prefixes() == prefixes
