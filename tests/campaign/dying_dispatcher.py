"""A real dispatcher that dies at one of its commits: `DIES_AT_COMMIT` says at which, `DIES` before or after it.

What belongs here: patching the store's one way to the disk from outside. What does not: anything that the dispatcher
would notice while it lives.
"""

import os
import signal
from typing import Final

from surveil.cli import main
from surveil.core.state import Changes
from surveil.store.writing import SqlStore

NUMBER: Final = int(os.environ["DIES_AT_COMMIT"])
WHEN: Final = os.environ["DIES"]

_commit = SqlStore.commit
_count = 0


def _dying_commit(self: SqlStore, changes: Changes) -> None:
    global _count  # noqa: PLW0603  one process has one store, and dies once
    _count += 1
    if _count == NUMBER and WHEN == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    _commit(self, changes)
    if _count == NUMBER and WHEN == "after":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    SqlStore.commit = _dying_commit  # type: ignore[method-assign]  # that is the point
    main()
