"""Patterns that choose refs, as people write them: `main`, `release/*`, `tags/v*`, `!refs/heads/wip/*`, `HEAD`.

What belongs here: reading patterns and matching names. What does not: which refs exist, and what becomes of them.

A `*` stands for any characters, slashes as well, as in git's own refspecs; nothing else is special. Matching takes
time in proportion to the name's length for each part of the pattern, whatever anybody wrote: there is nothing to
backtrack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from surveil.errors import UsageError
from surveil.frozen import dataclass

PATTERNS_MAX: Final = 64
PATTERN_CHARS_MAX: Final = 300
DEFAULT: Final = ("refs/heads/*",)

# What no ref's name can hold (git-check-ref-format), `*` apart: a pattern with one of these would never match.
_NEVER_IN_A_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?\[]|\.\.|@\{|//")


@dataclass(frozen=True, slots=True)
class Stars:
    """One pattern: the texts between its stars."""

    parts: tuple[str, ...]

    def matches(self, ref: str) -> bool:
        """Whether the whole text is as the pattern says."""
        first, *rest = self.parts
        if not rest:
            return ref == first
        if not ref.startswith(first):
            return False
        at = len(first)
        # Each part at its earliest place leaves the most room for those that follow, so one pass decides.
        for part in rest[:-1]:
            found = ref.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return len(ref) - at >= len(rest[-1]) and ref.endswith(rest[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """A checked choice of refs. `texts` is what was written, for people and for comparing."""

    texts: tuple[str, ...]
    head: bool
    """Whether the branch that HEAD names is chosen, whichever it is."""
    wanted: tuple[Stars, ...]
    unwanted: tuple[Stars, ...]

    def match(self, ref: str, head: str | None) -> bool:
        """Whether this ref is chosen while HEAD names `head`."""
        chosen = (self.head and ref == head) or any(pattern.matches(ref) for pattern in self.wanted)
        return chosen and not any(pattern.matches(ref) for pattern in self.unwanted)

    def prefixes(self) -> tuple[str, ...]:
        """What to ask a remote for, in the glob patterns of git, so that it need not list everything."""
        # `HEAD` may name any branch. What git would take for special is left to our own matching.
        asked = {"refs/heads/*"} if self.head else set()
        for pattern in self.wanted:
            first = pattern.parts[0].partition("\\")[0]
            asked.add(first if pattern.parts == (first,) else first + "*")
        return tuple(sorted(asked))


def read_patterns(texts: Iterable[str]) -> Patterns:
    """Read patterns as people write them; none at all mean all branches.

    A name without `refs/` is a branch, or a tag where it begins with `tags/`. A leading `!` excludes, whatever the
    others say. Raises UsageError.
    """
    written = tuple(texts)
    if len(written) > PATTERNS_MAX:
        raise UsageError(f"{len(written)} ref patterns are more than the {PATTERNS_MAX} allowed; use a * instead.")
    wanted: list[Stars] = []
    unwanted: list[Stars] = []
    head = False
    for text in written:
        if text == "HEAD":
            head = True
        elif text.startswith("!"):
            unwanted.append(_read(text[1:], text))
        else:
            wanted.append(_read(text, text))
    if not wanted and not head:
        wanted = [_read(text, text) for text in DEFAULT]
    return Patterns(texts=written or DEFAULT, head=head, wanted=tuple(wanted), unwanted=tuple(unwanted))


def _read(text: str, written: str) -> Stars:
    shown = "".join(c if c.isprintable() else "?" for c in written[:PATTERN_CHARS_MAX])
    if len(text) > PATTERN_CHARS_MAX:
        raise UsageError(f"The ref pattern {shown}... is longer than {PATTERN_CHARS_MAX} characters.")
    if not text or text.startswith(("-", "/")) or text.endswith("/") or _NEVER_IN_A_REF.search(text):
        raise UsageError(f"The ref pattern '{shown}' matches no ref; write one like main, release/* or tags/v*.")
    return Stars(tuple(_from_the_root(text).split("*")))


def in_full(text: str) -> str:
    """A pattern that means the same with its whole beginning: `!tags/v*` is `!refs/tags/v*`."""
    if text == "HEAD":
        return text
    return "!" + _from_the_root(text[1:]) if text.startswith("!") else _from_the_root(text)


def _from_the_root(text: str) -> str:
    if text.startswith("refs/"):
        return text
    return "refs/" + text if text.startswith(("tags/", "heads/")) else "refs/heads/" + text
