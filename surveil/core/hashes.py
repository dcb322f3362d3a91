"""`${{ hash('GLOB', ...) }}` in the keys of caches: a short name for what some files of a commit hold.

What belongs here: which patterns it names, and putting the names in. What does not: reading files
(`execute.collect.caching`), and everything else that is filled into texts (`core.filling`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from surveil.core import expressions as tree
from surveil.core.expressions import ExpressionError, parse
from surveil.core.globs import read_globs
from surveil.core.references import REFERENCE


def problem_of_hash(node: tree.Call) -> str:
    """What is wrong with a call of `hash`, as a clause for people; empty where nothing is."""
    texts = _texts(node)
    if not texts:
        return "`hash` takes patterns of files between quotes, like `hash('**/package-lock.json')`"
    try:
        read_globs(texts)
    except ValueError as error:
        return str(error)
    return ""


def fill_hashes(text: str, name_of: Callable[[tuple[str, ...]], str]) -> str:
    """The text with each call of `hash` replaced by the name of the files that its patterns choose."""

    def value(match: re.Match[str]) -> str:
        try:
            node = parse(match[1].strip())
        except ExpressionError:
            return match[0]
        return name_of(_texts(node)) if isinstance(node, tree.Call) and node.function == "hash" else match[0]

    return REFERENCE.sub(value, text)


def _texts(node: tree.Call) -> tuple[str, ...]:
    """The arguments, where all of them are texts."""
    values = [argument.value for argument in node.arguments if isinstance(argument, tree.Literal)]
    texts = tuple(value for value in values if isinstance(value, str))
    return texts if len(texts) == len(node.arguments) else ()
