"""One `up` for each data folder.

What belongs here: the sentence for whoever comes second. What does not: holding a folder (`places`); the dispatcher
holds the same one by another lock, which keeps two of them out of one database however they were started.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from surveil.errors import InfrastructureError
from surveil.places import UP_LOCK, Hold, TakenError


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there, for one `up`. The lock ends with its holder, however it ends.

    Raises:
        InfrastructureError: another `up` holds it, or the folder cannot be used.
    """
    try:
        hold = Hold(data, "an `up`", lock=UP_LOCK)
    except TakenError as taken:
        raise InfrastructureError(
            f"Another `surveil up` (process {taken.pid or 'unknown'}) runs on {data} already: look at it with "
            "`surveil status`, or start this one on another folder with --data and another --listen."
        ) from taken
    with hold:
        yield
