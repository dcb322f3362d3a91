"""Forges: the servers on which people look at commits, and what each wants to be told how.

What belongs here: what all forges have in common: what a commit's status is, and the promise of a forge. What does not:
the words of each (a module for each kind), which commits they are told of (`surveil.notify`):

* `github`, `gitlab` and `gitea` (which Forgejo speaks as well) know the words; they are pure.
* `projects` knows which repository is which project of a forge.
* `speaking` asks, with the token, and judges answers.
* `checks` knows the words of GitHub's checks, and `app` tells them, with the key of an app.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from surveil.frozen import dataclass


class State(StrEnum):
    """How a commit stands with us; each forge has a word of its own for it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitStatus:
    """What a forge is told of a commit. `context` says whose word it is: of one commit and context the newest counts.
    `url` may be empty.
    """

    project: str
    sha: str
    context: str
    state: State
    description: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question to a forge: its path below the address of the forge's API."""

    path: str
    headers: Mapping[str, str]
    document: Mapping[str, Any]


class Words(Protocol):
    """How one kind of forge is told. All of it is pure."""

    pace_ms: int
    """How long it wants to be left alone after each thing that it was told."""

    def api(self, url: str) -> str:
        """Where the API of the forge at `url` is."""
        ...

    def is_project(self, path: str) -> bool:
        """Whether a path, like `owner/name`, can be a project."""
        ...

    def request(self, status: CommitStatus, token: str) -> Request:
        """How a status is said."""
        ...

    def known_already(self, status: int, said: str) -> bool:
        """Whether a refusal means that this very status is there."""
        ...
