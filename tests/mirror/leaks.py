"""Certainty that nothing is left: no process of ours, dead ones included, and no descriptor."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 60


def children() -> set[str]:
    """The processes whose parent this process is, dead ones included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def open_files() -> set[tuple[str, str]]:
    """Each descriptor of this process with what it stands for; whose number was closed meanwhile is left out."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add((each.name, str(each.readlink())))
    return {(name, target) for name, target in found if not target.startswith("/proc/")}


@contextmanager
def nothing_left() -> Iterator[None]:
    """At the end there is no process and no descriptor that was not there at the beginning; what an earlier test left
    to end by itself may end meanwhile.
    """
    before = children(), open_files()
    yield
    # A server of the test's own is a thread of this process, and notices a moment later that nobody listens any more.
    until = time.monotonic() + PATIENCE_S
    while (left := (children() - before[0], open_files() - before[1])) != (set(), set()) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == (set(), set()), f"left over: {left}"
