"""For which jobs a secret is: its scope, and the choice between several secrets of one name.

What belongs here: what a scope covers. What does not: what is secret (it never comes into a mind), and where it is kept
(`surveil.hands.safe`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from surveil.core.patterns import Stars
from surveil.frozen import dataclass

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
"""What a secret is called: something that can be a variable's name."""


class Source(StrEnum):
    """Where a secret's value is: here, or in a Vault, by the place in it that is kept here."""

    HERE = "here"
    VAULT = "vault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The jobs that may have a secret, by patterns in which `*` stands for anything; an empty one is for all.

    `repo` is a repository's address as builds have it, `ref` a whole ref, `job` a job's name in the pipeline file.
    """

    repo: str = ""
    ref: str = ""
    job: str = ""

    def covers(self, repo: str, ref: str, job: str) -> bool:
        """Whether this job of this ref of this repository is meant."""
        pairs = ((self.repo, repo), (self.ref, ref), (self.job, job))
        return all(not pattern or Stars(tuple(pattern.split("*"))).matches(text) for pattern, text in pairs)

    @property
    def rank(self) -> tuple[int, int, int, str, str, str]:
        """How narrow it is: of two that cover a job, the one that says more of it, then the one with fewer stars, then
        with more letters.
        """
        texts = (self.repo, self.ref, self.job)
        named, stars = sum(map(bool, texts)), sum(text.count("*") for text in texts)
        return (named, -stars, sum(map(len, texts)), *texts)

    def __str__(self) -> str:
        named = (("repository", self.repo), ("ref", self.ref), ("job", self.job))
        return ", ".join(f"{what} {text}" for what, text in named if text) or "all jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret as it is kept: encrypted by the key of this id, bound to its name, scope and source."""

    name: str
    scope: Scope
    source: Source
    key: str
    encrypted: bytes
    created_at: int
    changed_at: int


def choose(secrets: Iterable[Secret], name: str, *, repo: str, ref: str, job: str) -> Secret | None:
    """The secret of this name that a job may have, the narrowest of several; None where there is none."""
    fitting = [one for one in secrets if one.name == name and one.scope.covers(repo, ref, job)]
    return max(fitting, key=lambda one: one.scope.rank, default=None)
