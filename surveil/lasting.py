"""What is there for as long as the process: modules, classes, tables, of which nothing is ever garbage.

What belongs here: sparing the collector of garbage the way through it. What does not: what is loaded, and when.

The collector goes through all objects that it knows whenever these have grown by a quarter. While modules are loaded
they grow all the time, and that was a tenth of the time in which a role started. Later its oldest generation is hardly
ever looked through, but then whoever just asked something waits for it: 50 to 80 ms for the modules of the web, and
next to nothing once they are left out.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Load modules: the collector rests meanwhile, and does not look through them afterwards."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Without this the next look would go through all of them as if they were new.
        gc.freeze()
        if was_enabled:
            gc.enable()


def settle() -> None:
    """Have the collector leave alone what is there by now: for a process that has opened all it needs. What little is
    garbage already stays, as looking for it would take as long as all that is spared.
    """
    gc.freeze()


def begin_anew() -> None:
    """Let go of what was there for good, and is not any more: for a process that opens all it needs once again."""
    gc.unfreeze()
    gc.collect()
