"""A badge: how a branch stands, in two words and a colour.

What belongs here: which build tells it, its words, its measures. What does not: its drawing (the template).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from surveil.frozen import dataclass

LOOKED_AT: Final = 20
"""So many builds are looked through for one that tells how a branch stands."""
LABEL_CHARACTERS_MAX: Final = 40
_CHARACTER: Final = 7
"""About as wide is a character, in the badge's own units; the words are stretched to fit."""
_MARGIN: Final = 5

Standing: TypeAlias = Literal["passed", "failed", "errored", "running", "unknown"]
_COLOURS: Final[Mapping[Standing, str]] = {
    "passed": "#1a7f37", "failed": "#cf222e", "errored": "#bc4c00", "running": "#0969da", "unknown": "#57606a",
}  # fmt: skip
_TELLING: Final[Mapping[str, Standing]] = {"passed": "passed", "failed": "failed", "errored": "errored"}
"""What was cancelled or skipped says nothing of a branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """What the template draws: texts, a colour, and where they stand."""

    label: str
    standing: Standing
    colour: str
    left: int
    right: int


def standing_of(builds: Sequence[Mapping[str, Any]]) -> Standing:
    """How a branch stands by its builds, newest first; those of several repositories tell nothing of one."""
    if len({build["repo"] for build in builds}) > 1:
        return "unknown"
    for build in builds:
        if build["state"] in _TELLING:
            return _TELLING[build["state"]]
    return "running" if any(build["state"] in {"queued", "running", "blocked"} for build in builds) else "unknown"


def badge_of(standing: Standing, label: str) -> Badge:
    """The badge that says so."""
    left, right = (len(text) * _CHARACTER + 2 * _MARGIN for text in (label, standing))
    return Badge(label=label, standing=standing, colour=_COLOURS[standing], left=left, right=right)
