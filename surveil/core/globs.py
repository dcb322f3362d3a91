"""Patterns that choose paths of a repository, as people write them: `docs/**`, `*.md`, `src/**/*.py`, `!docs/old/**`.

What belongs here: reading such patterns and matching paths. What does not: which paths there are, folders on a disk,
and patterns of refs (`core.patterns`), in which slashes are nothing special.

A path is relative to the repository's root and has `/` between its parts. `*` stands for any characters of one part,
`?` for one of them, and `**` as a whole part for any number of folders; nothing else is special. Matching never tries
the same characters again and again, whatever anybody wrote: each star takes the earliest place that fits what follows
it, which leaves the most room for the rest, and is held to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from surveil.core.spelling import quoted
from surveil.frozen import dataclass

GLOBS_MAX: Final = 64
"""Patterns of one list."""
GLOB_CHARACTERS_MAX: Final = 300

_OF_OTHERS: Final = frozenset("[]{}\\")
"""What is special in the patterns of others; taken as it stands it would never match, and nobody would know why."""


@dataclass(frozen=True, slots=True)
class Globs:
    """A checked choice of paths: those that one of `wanted` matches, and none of `unwanted`."""

    texts: tuple[str, ...]
    wanted: tuple[re.Pattern[str], ...]
    unwanted: tuple[re.Pattern[str], ...]

    def match(self, path: str) -> bool:
        """Whether this path is chosen."""
        chosen = any(pattern.fullmatch(path) for pattern in self.wanted)
        return chosen and not any(pattern.fullmatch(path) for pattern in self.unwanted)


@lru_cache(maxsize=512)
def read_globs(texts: tuple[str, ...]) -> Globs:
    """Read patterns; a leading `!` excludes, whatever the others say, and with nothing else means "all but these".

    Raises:
        ValueError: one of them can match nothing, or they are too many; it says so in a clause.
    """
    if len(texts) > GLOBS_MAX:
        raise ValueError(f"{len(texts)} patterns are more than the {GLOBS_MAX} allowed: use `**`")
    unwanted = tuple(_read(text[1:]) for text in texts if text.startswith("!"))
    wanted = tuple(_read(text) for text in texts if not text.startswith("!"))
    return Globs(texts, wanted or (_read("**"),), unwanted)


def any_match(globs: Globs, paths: Iterable[str]) -> str | None:
    """The first of these paths that is chosen, or None."""
    return next((path for path in paths if globs.match(path)), None)


def _read(text: str) -> re.Pattern[str]:
    if len(text) > GLOB_CHARACTERS_MAX:
        raise ValueError(f"the pattern {quoted(text)} is longer than {GLOB_CHARACTERS_MAX} characters")
    if not text or not text.isprintable():
        raise ValueError(f"{quoted(text)} is no pattern of paths: write one like `docs/**` or `**/*.py`")
    if special := sorted(_OF_OTHERS & set(text)):
        raise ValueError(
            f"{quoted(text)} holds `{special[0]}`: only `*`, `**` and `?` are special, so write two patterns"
        )
    parts = (text + "**" if text.endswith("/") else text).split("/")
    if text.startswith("/") or not all(parts) or {".", ".."} & set(parts):
        raise ValueError(f"{quoted(text)} matches no path: write it from the root of the repository, like `docs/**`")
    if odd := next((part for part in parts if "**" in part and part != "**"), None):
        raise ValueError(f"{quoted(odd)} is no part of a path: `**` stands for whole folders, as in `**/*.py`")
    return re.compile(_compiled(parts), re.DOTALL)


def _compiled(parts: list[str]) -> str:
    """One regular expression. Runs of parts between two `**` are of a fixed length, so the earliest place is as good
    as any (an atomic group holds the expression to it); the last run stands at the end.
    """
    first, *rest = _runs(parts)
    if not rest:
        return "/".join(map(_part, first))
    text = "".join(_part(part) + "/" for part in first)
    for run in rest[:-1]:
        text += "(?>(?:[^/]+/)*?" + "".join(_part(part) + "/" for part in run) + ")"
    last = rest[-1]
    return text + ("(?:[^/]+/)*" + "/".join(map(_part, last)) if last else ".+")


def _runs(parts: list[str]) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for part in parts:
        if part != "**":
            runs[-1].append(part)
        elif runs[-1] or len(runs) == 1:  # `**/**` says no more than `**`.
            runs.append([])
    return runs


def _part(part: str) -> str:
    first, *rest = ["".join("[^/]" if char == "?" else re.escape(char) for char in text) for text in part.split("*")]
    if not rest:
        return first
    # A part is not empty, so what is nothing but stars takes a character.
    if not (first or any(rest)):
        return "[^/]+"
    return first + "".join(f"(?>[^/]*?{text})" for text in rest[:-1]) + f"[^/]*{rest[-1]}"
