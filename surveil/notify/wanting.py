"""What a channel is told of: news of some kinds, of some repositories and refs.

What belongs here: the choice, and how it is read. What does not: what news there is (`core.turns`), and who is told.
"""

from __future__ import annotations

from typing import Final

from surveil.config import values
from surveil.core.patterns import Patterns, Stars, read_patterns
from surveil.core.turns import News
from surveil.errors import UsageError
from surveil.frozen import dataclass

USUAL: Final = frozenset({News.BROKEN, News.STILL_FAILING, News.FIXED})
"""What a channel is told of that does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """News of these kinds, of repositories that one of `repos` matches, and of these refs; all where none is named."""

    news: frozenset[News] = USUAL
    repos: tuple[Stars, ...] = ()
    refs: Patterns | None = None

    @property
    def everywhere(self) -> bool:
        """Whether it is about the whole installation."""
        return self.refs is None and not self.repos

    def of(self, repo: str, ref: str) -> bool:
        """Whether builds of this repository and ref are meant."""
        meant = not self.repos or any(each.matches(repo) for each in self.repos)
        return meant and (self.refs is None or self.refs.match(ref, None))


def read_repos(value: object) -> tuple[Stars, ...]:
    """Addresses of repositories, in which `*` stands for any characters. Raises ValueError."""
    found = tuple(Stars(tuple(text.split("*"))) for text in values.listed(values.repository)(value))
    if not found:
        raise ValueError("the list is empty: leave it out for all repositories")
    return found


def read_refs(value: object) -> Patterns:
    """Patterns of refs. Raises ValueError."""
    texts = values.listed(values.text)(value)
    if "HEAD" in texts:
        raise ValueError("which branch HEAD names is not known here: name that branch")
    try:
        return read_patterns(texts)
    except UsageError as error:
        raise ValueError(str(error)) from error


def read_news(value: object) -> frozenset[News]:
    """Kinds of news. Raises ValueError."""
    found = frozenset(News(each) for each in values.listed(values.one_of(*(each.value for each in News)))(value))
    if not found:
        raise ValueError("the list is empty, and nobody would be told anything")
    return found
