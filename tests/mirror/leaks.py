"""Certainty that nothing is left: no process of ours, dead ones included, and no descriptor."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 10


def children() -> set[str]:
    """The processes whose parent this process is, dead ones included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def nothing_left() -> Iterator[None]:
    """At the end there are as many processes and descriptors as at the beginning."""
    before = children(), descriptors()
    yield
    # A server of the test's own is a thread of this process, and notices a moment later that nobody listens any more.
    until = time.monotonic() + PATIENCE_S
    while (children(), descriptors()) != before and time.monotonic() < until:
        time.sleep(0.02)
    assert (children(), descriptors()) == before
