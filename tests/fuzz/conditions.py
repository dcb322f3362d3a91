"""Conditions and patterns of paths: whatever is written, an objection can be shown, or it is decided, and soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from surveil.core.conditions import FUNCTIONS, TEXTS, Known, asks_for_ends
from surveil.core.conditions import check as check_names
from surveil.core.decisions import Facts, Need, decide
from surveil.core.expressions import ExpressionError, parse
from surveil.core.globs import read_globs
from tests.fuzz.draw import Draw

PIECES: Final = (
    *TEXTS, *(f"{name}(" for name in FUNCTIONS), "paths", "matrix.a", "env.A", "needs.build.state",
    "needs['b c'].outputs.x", "needs.test.outputs.x", "&&", "||", "!", "(", ")", "[", "]", ",", ".", "==", "!=", "<",
    "<=", ">", ">=", "in", "and", "=", "'", '"', "'main'", '"x"', "3.10", "v1", "true", "false", "${{", "'docs/**'",
    "'*a*a*'", "'['", "needs", "matrix", "\t", "\n", "é", "\x1b", "\u202e", "x" * 300, "(" * 30, "!" * 30,
)  # fmt: skip
GLOBS: Final = ("*", "**", "?", "/", "a", "b", "!", ".", "..", "[", "{", "\\", "*a", "**/", "x" * 100, "\n", "é", "")
PATHS: Final = ("a", "docs/a", "a/" * 1000 + "b", "a" * 4000, "b/a" * 1000, "x\ny", "")
KNOWN: Final = Known(
    matrix=["a"], env=["A"], needs={"build": ["build"], "b c": ["b c"], "test": ["test[1]", "test[2]"]}
)
FACTS: Final = Facts(
    event="push", repo="/r", ref="refs/heads/main", sha="a" * 40, paths=PATHS, matrix={"a": "3.10"},
    env={"A": "*" * 99},
    needs={
        "build": Need(state="passed"), "b c": Need(state="failed", outputs={"x": "v3\n"}),
        "test[1]": Need(state="lost"),
    },
)  # fmt: skip
PATIENCE_S: Final = 5
"""Of processor time for one text: a thousand times what the slowest takes."""


def check(data: bytes) -> None:
    """Write a condition or a pattern, and decide."""
    draw = Draw(data)
    start = time.process_time()
    if draw.seldom(3):
        _check_globs(draw)
    else:
        _check_condition(draw)
    assert time.process_time() - start < PATIENCE_S, "it takes more time than its length"


def seeds() -> Iterator[bytes]:
    """Conditions and patterns with a little to go on."""
    for way in (0, 1, 2):
        for start in range(0, 250, 6):
            yield bytes([way]) + bytes((start + 23 * step) % 256 for step in range(40))


def _check_condition(draw: Draw) -> None:
    pieces = [draw.text() if draw.seldom(8) else draw.pick(PIECES) for _ in range(draw.byte() % 24)]
    text = (" " if draw.flag() else "").join(pieces)
    try:
        node = parse(text)
        objections = check_names(node, KNOWN)
        asks_for_ends(node)
    except ExpressionError as error:
        objections = [error]
    for objection in objections:
        assert 0 <= objection.at <= len(text), "a place outside of the text"
        assert (str(objection) + objection.hint).isprintable(), "an objection is more than text"
    decision = decide(text, FACTS)
    assert (decision.because + decision.problem).isprintable(), "a reason is more than text"
    if not objections and not any(sign in text for sign in "<>"):
        assert decision.problem == "", f"what makes sense cannot be decided: {decision.problem}"


def _check_globs(draw: Draw) -> None:
    texts = tuple("".join(draw.pick(GLOBS) for _ in range(draw.byte() % 60)) for _ in range(1 + draw.byte() % 3))
    clause = ""
    try:
        globs = read_globs(texts)
        for path in PATHS:
            globs.match(path)
    except ValueError as refused:
        clause = str(refused)
    assert clause.isprintable(), "a clause is more than text"
