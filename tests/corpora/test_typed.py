"""Naughty texts as arguments of every command: a sentence and an exit code, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from surveil.errors import ExitCode
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.corpora.naughty import NAUGHTY, harm
from tests.store.records import make_attempt, make_build, make_job, make_runner, new

pytestmark = pytest.mark.timeout(300)

HERE = "{}"
"""Stands for the text."""
LOCAL = (
    ("{}",), ("show", HERE), ("logs", HERE), ("watch", HERE), ("retry", HERE), ("cancel", HERE), ("validate", HERE),
    ("explain", HERE), ("run", HERE), ("runner", "--join", HERE), ("runner", "--name", HERE),
    ("runner", "--label", HERE),
    ("runner", "--slots", HERE), ("observer", HERE), ("observer", "--ref", HERE, "."), ("observer", "--interval", HERE),
    ("dispatcher", "--listen", HERE), ("dispatcher", "--database", HERE), ("status", "--dispatcher", HERE),
    ("status", "--config", HERE), ("builds", "--limit", HERE), ("token", "create", "--expires", HERE),
    ("token", "create", "--role", HERE), ("completion", HERE), ("config", "show", HERE), ("submit", "--repo", HERE),
    ("submit", HERE), ("up", "--once", HERE), ("client", "--join", HERE),
)  # fmt: skip
"""Commands that end before they ask anybody; most mean nothing with such a word."""
ASKING = (
    ("builds", "--repo", HERE), ("builds", "--ref", HERE), ("logs", "1", HERE), ("cancel", "1", HERE),
    ("retry", "1", HERE), ("story", f"1/{HERE}"), ("token", "revoke", HERE), ("runners", "drain", HERE),
    ("runners", "cordon", HERE), ("peer", "revoke", HERE), ("token", "create", "--label", HERE),
    ("cancel", "1", "--reason", HERE), ("unhold", "1", HERE),
)  # fmt: skip
CODES = {int(code) for code in ExitCode} - {ExitCode.BUILD_FAILED, ExitCode.INTERRUPTED}
SHARES = 3
"""Each command gets every third text, and neighbours get others: a word goes the same way through most of them."""


def looks_at(type_: Type, words: tuple[str, ...], text: str) -> None:
    typed = tuple(word.replace(HERE, text) for word in words)
    ended = type_(*typed)
    assert ended.code in CODES, (typed, ended.err)
    assert harm(ended.out) == "", typed
    assert harm(ended.err) == "", typed
    assert "Traceback" not in ended.err, typed
    assert "defect of surveil" not in ended.err, typed
    # A word may be the name of a file that is there, and is no pipeline.
    beginnings = ("surveil: ", "surveil 0.", f"{text}:1:1: ")
    assert ended.code == 0 or (ended.err or ended.out).startswith(beginnings), (typed, ended.err)


def share(number: int, shares: int) -> list[str]:
    return [*NAUGHTY, "\udcff\udcfe", "\udc80a"][number % shares :: shares]


@pytest.mark.parametrize("words", LOCAL, ids=" ".join)
def test_a_word_that_means_nothing_gets_a_sentence(type_: Type, words: tuple[str, ...]) -> None:
    for text in share(LOCAL.index(words), SHARES):
        looks_at(type_, words, text)


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_word_that_is_asked_about_is_answered(type_: Type, counter: Counter, words: tuple[str, ...]) -> None:
    counter.desk.store.commit(new(make_build(), make_job(attempt=1), make_attempt(), make_runner()))
    for text in share(ASKING.index(words), 2 * SHARES):
        looks_at(type_, words, text)
