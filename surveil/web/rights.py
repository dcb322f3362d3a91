"""What somebody may do, and with which repositories.

What belongs here: scopes, roles that come together as rights, and what they allow. What does not: who has them
(`visitors`, `surveil.store.people`), and what each question takes of its asker (`own`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from surveil.core.patterns import Stars
from surveil.frozen import dataclass
from surveil.store.people import EVERYWHERE, Role


class Scope(IntEnum):
    """What somebody may do; each includes those before it."""

    NONE = 0
    READ = 1
    RUN = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it is written, in tokens and for people."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done everywhere, and beyond that in the repositories that patterns name."""

    everywhere: Scope
    somewhere: tuple[tuple[str, Scope], ...] = ()

    def at(self, repo: str) -> Scope:
        """What may be done with this repository."""
        return max((self.everywhere, *(scope for pattern, scope in self.somewhere if covers(pattern, repo))))

    @property
    def most(self) -> Scope:
        """What may be done with at least one repository."""
        return max((self.everywhere, *(scope for _, scope in self.somewhere)))

    @property
    def sees_all(self) -> bool:
        """Whether there is nothing that is kept from them."""
        return self.everywhere >= Scope.READ

    def among(self, repos: Iterable[str]) -> tuple[str, ...]:
        """Those of these repositories that may be seen."""
        return tuple(repo for repo in repos if self.at(repo) >= Scope.READ)


def rights_of(roles: Iterable[Role], most: Scope) -> Rights:
    """What roles come to, for whoever came in with a pass that allows at most this."""
    found = [(role.repo, min(Scope[role.scope.upper()], most)) for role in roles]
    everywhere = max((scope for repo, scope in found if not repo.strip(EVERYWHERE)), default=Scope.NONE)
    return Rights(everywhere, tuple((repo, scope) for repo, scope in found if scope > everywhere))


def covers(pattern: str, repo: str) -> bool:
    """Whether a repository is one of those that a pattern means; `*` stands for anything."""
    return Stars(tuple(pattern.split("*"))).matches(repo)
