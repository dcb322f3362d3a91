"""What may come of an edge repository: a closed list, for a test can look for nothing else.

What belongs here: the fates and the row of the table. What does not: the rows (`catalogue`) and how a fate is seen
(the tests).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.edge.bench import Bench

MAIN = "refs/heads/main"


@dataclass(frozen=True)
class Built:
    """A build that passes, for each of these refs and no other."""

    refs: tuple[str, ...] = (MAIN,)


@dataclass(frozen=True)
class Told:
    """A build that cannot run, and says why in these words, to the commit's author."""

    words: str


@dataclass(frozen=True)
class NoTree:
    """A build whose job ends as an error, because no work tree can be made; its reason holds these words."""

    words: str


@dataclass(frozen=True)
class Unread:
    """No build; what is said of the repository holds these words, to whoever runs surveil."""

    words: str


@dataclass(frozen=True)
class Quiet:
    """No build, and no word: there is nothing to test, and nothing wrong."""


Fate: TypeAlias = Built | Told | NoTree | Unread | Quiet


@dataclass(frozen=True)
class Edge:
    """One row of the table.

    `make` fills the empty repository, `local` must come of it where it is a folder of this machine, and `remote` where
    it is served by another git, if that is something else. `turn` then changes it while it is watched, and `then` must
    come of that.
    """

    name: str
    what: str
    make: Callable[[Bench], object]
    local: Fate
    remote: Fate | None = None
    turn: Callable[[Bench], object] | None = None
    then: Fate | None = None
    hangs: bool = False
    """Whether it keeps git waiting until a limit ends that, so that it is tried apart and with a shorter limit."""
    is_served: bool = True
    """False where another git sees something else each time, so that nothing certain can be said."""
    bare: bool = False
    hash_name: str = "sha1"

    @property
    def served(self) -> Fate:
        """What must come of it where another git serves it."""
        return self.remote or self.local
