"""A disk for a test: mounted on a folder, served by a process of its own, and taken away at the end.

What belongs here: what tests say to a disk. What does not: how it obeys (`__main__`).
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.disks.fuse import CONTROL
from tests.disks.model import Step

END_S: Final = 5


@dataclass(frozen=True, slots=True)
class Mounted:
    """One disk at `folder`."""

    folder: Path

    def fail(
        self, *kinds: str, number: int, path: str = "", at: int = 1, count: int = 1_000_000_000, done: bool = False
    ) -> None:
        """Let calls fail; see `tests.disks.faults.Fault`. The next call of this replaces it."""
        fault = {"kinds": kinds, "number": number, "path": path, "at": at, "count": count, "done": done}
        self.order({"fault": fault})

    def work(self) -> None:
        """Let nothing fail any more."""
        self.order({"fault": None})

    def met(self) -> int:
        """How many calls there were that the fault is about."""
        return int(self.order({"count": None}))

    def lose_power(self, seed: int, into: Path) -> None:
        """Let nothing work any more, and write what is left to an ordinary folder; whoever worked here must end."""
        self.order({"cut": seed, "into": str(into)})

    def copy(self, into: Path) -> None:
        """Let nothing work any more, and write all that processes see here to an ordinary folder."""
        self.order({"cut": None, "into": str(into)})

    def order(self, order: dict[str, Any]) -> Any:
        """Say something to the disk itself; returns its answer."""
        os.setxattr(self.folder, CONTROL, json.dumps(order).encode())
        return json.loads(os.getxattr(self.folder, CONTROL))


def mark(folder: Path, text: str) -> None:
    """Note in the trace of the disk at this folder that something was promised now."""
    os.setxattr(folder, CONTROL, json.dumps({"mark": text}).encode())


@contextmanager
def mounted(folder: Path, *, source: Path | None = None, trace: Path | None = None) -> Iterator[Mounted]:
    """Mount a disk on a folder, which is made; with what `source` holds, and each step written to `trace`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "tests.disks", str(folder)]
    words += ["--from", str(source)] if source is not None else []
    words += ["--trace", str(trace)] if trace is not None else []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=_root()) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != "mounted\n":
                raise AssertionError("the disk could not be mounted; its process said why")
            yield Mounted(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, stderr=subprocess.DEVNULL)
            # Whoever still has a file open keeps the disk alive, until its process is gone.
            with suppress(subprocess.TimeoutExpired):
                server.wait(END_S)
            server.kill()


def read_trace(path: Path) -> Iterator[Step]:
    """The steps of a trace, oldest first."""
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def _root() -> Path:
    return Path(__file__).parents[2]
