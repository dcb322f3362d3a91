"""Which files a commit changes, as far as a pipeline may ask.

What belongs here: choosing what a commit is compared with. What does not: comparing (`mirror`), and what follows from a
file's change (`surveil.core`).

A branch that moved is compared with where it was; a new one, and whatever is meant to be merged, with the point at
which it left the branch that HEAD names; that branch itself, met for the first time, with its commit's parent. Nobody
knows what a tag changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from surveil.frozen import dataclass
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble

_ASKING: Final = ("paths", "changed")
"""A pipeline that says neither word cannot ask, and a process of git is spared for each of its commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The branch that HEAD names, and its commit; both empty where there is none."""

    ref: str = ""
    sha: str = ""


def asks_for_changes(texts: Iterable[str]) -> bool:
    """Whether a pipeline of these texts may want to know."""
    return any(word in text for text in texts for word in _ASKING)


def changed_paths(
    mirror: Mirror, sha: str, ref: str, *, before: str | None, base: Base, merging: bool
) -> tuple[str, ...] | None:
    """The files that `sha` on `ref` changes, sorted; None where nobody knows, or they are too many. Blocks.

    `before` is what the ref held until now; `merging` says that it is to be merged into the base.

    Raises MirrorError only where surveil stops.
    """
    if ref.startswith("refs/tags/"):
        return None
    try:
        if before is not None and not merging and (found := mirror.changed(before, sha)) is not None:
            return found
        if base.ref == ref:
            return mirror.changed(None, sha)
        if not base.sha:
            return None
        mirror.fetch(base.sha, base.ref)
        return mirror.changed(base.sha, sha, since_parting=True)
    except MirrorError as problem:
        if problem.trouble is Trouble.HALTED:
            raise
        return None
