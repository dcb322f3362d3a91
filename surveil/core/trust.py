"""Which refs are trusted, and what a commit of a ref is made for.

What belongs here: what a ref's name alone tells. What does not: who may run what (`core.builds`), and reading a
trusted pipeline for a commit that is not (`hands.reporting`).

Who can write a branch or a tag of a repository belongs to it. Whoever can open a pull request may be anybody, and all
that a forge says of it in git is a ref beside the branches: so what is neither branch nor tag is not trusted unless
somebody says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from surveil.core.patterns import Patterns, read_patterns
from surveil.frozen import dataclass
from surveil.protocol import Trigger

DEFAULT: Final = ("refs/heads/*", "refs/tags/*")
DETACHED: Final = "HEAD"
"""What a commit counts for that a person submitted and that no ref points to; that person chose it."""
DRILL: Final = "refs/surveil/drill"
"""What a drill's job counts for, so that no branch's newest build is one; a person chose it as well."""
PULL_REQUESTS: Final = ("refs/pull/", "refs/merge-requests/", "refs/pull-requests/", "refs/changes/")
"""Where GitHub, Gitea and Forgejo, GitLab, Bitbucket and Gerrit show what people want to be merged."""


@dataclass(frozen=True, slots=True)
class Trust:
    """A checked choice of refs."""

    patterns: Patterns

    def trusts(self, ref: str) -> bool:
        """Whether only people of the repository can have written what this ref holds."""
        return ref in {DETACHED, DRILL} or self.patterns.match(ref, None)


def read_trust(more: Iterable[str] = ()) -> Trust:
    """Branches and tags, and what these patterns add; one that begins with `!` takes away. Raises UsageError."""
    return Trust(read_patterns((*DEFAULT, *more)))


def trigger_of(ref: str) -> Trigger:
    """What a commit is built for that appeared on this ref."""
    return "pull_request" if ref.startswith(PULL_REQUESTS) else "push"
