"""Looking at builds again and again: telling quickly that nothing has changed, and reading whole builds where it has.

What belongs here: what a look promises. What does not: who is asked for one (`Reader.looks`), how a database is asked
(`whole`), and what is made of a build (`surveil.answer`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from surveil.store import BuildDetail


class Look(Protocol):
    """One build at one moment."""

    @property
    @abstractmethod
    def build(self) -> int:
        """Its number."""

    @property
    @abstractmethod
    def version(self) -> object:
        """Equal to that of another look of the same kind as long as nothing that is stored of this build has changed
        since; one for tests vouches for their results as well, and for those that they are compared with.
        """

    @property
    @abstractmethod
    def tested(self) -> bool:
        """Whether there are test results of it; known where the look was for tests as well."""

    @abstractmethod
    def detail(self) -> BuildDetail:
        """The build with everything under it. Raises StoreError where it was damaged."""
