"""Where the steps of an attempt run: as processes of this machine's user, or in a container.

What belongs here: what a keeper asks of such a place, and the plain one: processes below the keeper itself, in a
sandbox where one was ordered. What does not: containers (`contained`), and when a step is started or ended (`keeper`).
Imports only what a keeper may import.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from typing import NamedTuple, Protocol

from surveil.execute.files import Order, StepOrder
from surveil.execute.keeper import offspring
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.enclosure import Enclosure, SandboxError
from surveil.execute.keeper.endings import End, limit_words, no_tree_words, start_words
from surveil.execute.keeper.intake import PIPE_BYTES


class Started(NamedTuple):
    """A step that runs: by which number its site knows it, and where its output is read, without blocking."""

    process: int
    output: int


class Site(Protocol):
    """Runs steps, one at a time. Its calls take a moment at most, but for `open`, `kill` and `close`, which are bounded
    as well.
    """

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What has something to be read when there is news."""

    def open(self) -> None:
        """Be ready for the first step. Raises End."""

    def start(self, number: int, step: StepOrder) -> Started:
        """Start a step, the `number`th from 1 on. Raises End."""

    def reap(self, now: int) -> dict[int, offspring.Exit]:
        """How those ended that did since the last time."""

    def due_at(self) -> int | None:
        """When `reap` is to be called at the latest, on the keeper's clock."""

    def trouble(self) -> str:
        """Why nothing can run here any more, a sentence; empty while all is well."""

    def ask(self, process: int) -> None:
        """Ask a step to end."""

    def lives(self, process: int) -> bool:
        """Whether anything is left of a step that was asked to end."""

    def kill(self) -> dict[int, offspring.Exit]:
        """End all processes of all steps at once; how they ended."""

    def news(self) -> str:
        """What limit was met since the last time, as a clause; empty if none was."""

    def close(self) -> None:
        """End all that is left, and the site itself."""


class OwnProcesses:
    """Steps are processes below this one, in the sandbox and under the limits that were ordered."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """None: a child's end is a signal, which wakes the keeper in any case."""
        return ()

    def __init__(self, order: Order) -> None:
        self._cwd = order.cwd
        self._limited = bool(order.cgroups)
        self._enclosure = Enclosure(order.sandbox, order.processes) if order.sandbox else None
        self._confines = Confines([*order.cgroups], order.memory_bytes, order.processes)

    def open(self) -> None:
        """Make the control groups."""
        try:
            self._confines.make()
        except OSError as error:
            raise End("errored", limit_words(error)) from error

    def start(self, number: int, step: StepOrder) -> Started:
        """Fork, and become the step's program."""
        output, theirs = os.pipe2(os.O_CLOEXEC)
        ready_to_read(output)
        try:
            enter = None if self._enclosure is None else self._enclosure.ready()
            place = offspring.Surroundings(self._confines.join if self._limited else None, enter)
            return Started(offspring.start(step.argv, step.env, self._cwd, theirs, place), output)
        except (OSError, SandboxError) as error:
            os.close(output)
            if number > 1 and isinstance(error, OSError) and error.filename == self._cwd:
                # It was there for the first step: no other machine would do better, and none is to be blamed.
                raise End("failed", no_tree_words(step.name, error)) from error
            raise End("errored", start_words(step.name, error)) from error
        finally:
            os.close(theirs)

    def reap(self, now: int) -> dict[int, offspring.Exit]:  # noqa: ARG002  # nothing here depends on the time
        """Collect every child that has ended."""
        return offspring.reap()

    def due_at(self) -> int | None:
        """Never: signals tell."""
        return None

    def trouble(self) -> str:
        """None: where no process can be started, the step says so."""
        return ""

    def ask(self, process: int) -> None:
        """Signal its process group."""
        offspring.signal_group(process, signal.SIGTERM)

    def lives(self, process: int) -> bool:
        """Whether its process group has members left."""
        return offspring.group_lives(process)

    def kill(self) -> dict[int, offspring.Exit]:
        """Kill everything below us."""
        return offspring.kill_all()

    def news(self) -> str:
        """What the control groups tell."""
        return self._confines.news()

    def close(self) -> None:
        """End the sandbox and everything below us, and remove the control groups."""
        if self._enclosure is not None:
            self._enclosure.end()
        offspring.kill_all()
        self._confines.remove()


def ready_to_read(output: int) -> None:
    """Let a pipe hold as much as it may, and its reading end never block."""
    with contextlib.suppress(OSError):  # The system may allow no more than its default.
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(output, False)
