"""How repositories have been doing lately, kept in memory and brought up to date with each question.

What belongs here: the newest builds of repositories that somebody asked for, and what of them may have changed. What
does not: what they come to (`outlook`).

To read a repository's newest builds takes a look at as many rows, which lie far apart where many repositories are
built. But what has ended stays as it is: after the first look only builds that are new, and those that were open at the
last one, are read again, for all repositories at once. So every answer is as true as one that was read anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, Final

from surveil.core.model import VERDICTS
from surveil.frozen import dataclass
from surveil.store import ROWS_MAX, Outline, Reader

LOOKED_BACK: Final = 200
"""How many builds of a repository tell how it stands."""
REPOS_MAX: Final = 200
"""Of so many repositories it is kept, some 40 kB each; those nobody asked for lately go."""


@dataclass(slots=True)
class _Repository:
    """Its newest builds first, and what they come to, once somebody wanted to know."""

    lately: list[Outline]
    view: dict[str, Any] | None = None
    open: set[int] = field(default_factory=set)


class Lately:
    """What is known of repositories; any thread may ask. `make` is what a repository's newest builds come to: it is
    called once for each change, and nobody may change what it returns.
    """

    def __init__(self, reader: Reader, make: Callable[[str, Sequence[Outline]], dict[str, Any]]) -> None:
        self._reader = reader
        self._make = make
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Repository] = OrderedDict()
        self._newest = 0

    def views(self, repos: Sequence[str]) -> list[dict[str, Any]]:
        """What these repositories come to now, in this order. Raises StoreError."""
        with self._lock:
            self._catch_up([self._known[repo] for repo in repos if repo in self._known])
            found = [self._view(repo) for repo in repos]
            while len(self._known) > REPOS_MAX:
                self._known.popitem(last=False)
            return found

    def _catch_up(self, wanted: Sequence[_Repository]) -> None:
        """Read what is new of all repositories that are known, and what was open of those that are wanted."""
        undecided = [number for known in wanted for number in known.open]
        new, changed = self._reader.outlines_after(self._newest, undecided)
        if not self._known or len(new) == ROWS_MAX:
            # Nobody asked for long: to begin anew is quicker than to read all that has been built since.
            self._known.clear()
            newest = self._reader.builds(limit=1, jobs=False)
            self._newest = newest[0].id if newest else 0
            return
        for known in wanted:
            lately = [changed.get(build.id, build) for build in known.lately]
            if lately != known.lately:
                _put(known, lately)
        for repo, build in new:
            self._newest = build.id
            # Whoever was read a moment after the others has it already.
            if (mine := self._known.get(repo)) is not None and build.id > (mine.lately[0].id if mine.lately else 0):
                _put(mine, [build, *mine.lately[: LOOKED_BACK - 1]])

    def _view(self, repo: str) -> dict[str, Any]:
        known = self._known.get(repo)
        if known is None:
            known = _Repository([])
            # Known only once it was read: whoever took it for one without builds would go on doing so.
            _put(known, self._reader.outlines(repo, limit=LOOKED_BACK))
            self._known[repo] = known
        self._known.move_to_end(repo)
        if known.view is None:
            known.view = self._make(repo, known.lately)
        return known.view


def _put(known: _Repository, lately: list[Outline]) -> None:
    known.lately, known.view = lately, None
    known.open = {build.id for build in lately if build.state not in VERDICTS}
