"""Why an attempt came to its end, in a word for programs and a sentence for people.

What belongs here: the outcome as something that can be raised, and its sentences. What does not: when it ends
(`keeper`). Imports only what a keeper may import.
"""

from __future__ import annotations

import contextlib
import errno
import signal
from typing import Final

from surveil.execute.keeper import offspring
from surveil.execute.keeper.enclosure import SandboxError

_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class End(Exception):
    """The attempt ends here, with this outcome for this reason; with an exit code if it was its own doing. After a
    `final` one not even what cleans up may run. One that errored is `blameless` where the machine has no part in it.
    """

    def __init__(
        self, outcome: str, reason: str, exit_code: int | None = None, *, final: bool = False, blameless: bool = False
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.exit_code = exit_code
        self.final = final
        self.blameless = blameless


GOES_ON: Final = End("", "")
"""Of an attempt that has not ended."""


def failure_words(what: str, exit_code: int, limit: str = "") -> str:
    """How a step or a service ended; `limit` is what it went over, as a clause."""
    if limit and exit_code == offspring.SIGNALLED + signal.SIGKILL:
        return f"{what} was killed because {limit}"
    if limit:
        return f"{what} ended with exit code {exit_code}: {limit}"
    if exit_code > offspring.SIGNALLED:
        with contextlib.suppress(ValueError):
            number = signal.Signals(exit_code - offspring.SIGNALLED)
            hint = "; perhaps the machine ran out of memory" if number is signal.SIGKILL else ""
            return f"{what} was ended by {number.name}{hint}"
    return f"{what} ended with exit code {exit_code}"


def start_words(name: str, error: OSError | SandboxError) -> str:
    """Why a step could not be started."""
    if isinstance(error, SandboxError):
        return f"step '{name}' could not be started: the sandbox cannot be built: {error}"
    where = f"{error.filename}: " if error.filename else ""
    return f"step '{name}' could not be started: {where}{error.strerror}"


def no_tree_words(name: str, error: OSError) -> str:
    """Why a step found no work tree, which was there for the steps before it."""
    return f"step '{name}' could not be started: a step before it took its work tree away ({error.strerror})"


def limit_words(error: OSError) -> str:
    """Why the attempt's limits do not hold."""
    return f"the attempt's limits cannot be set: {error.filename or 'control group'}: {error.strerror}"


def secret_words(error: OSError) -> str:
    """Why the files that hold secrets cannot be made."""
    return (
        f"the files for its secrets cannot be made in memory: {error.filename}: {error.strerror}; mount a tmpfs "
        "there on the runner, or give the secrets to steps by variables"
    )


def disk_words(error: OSError) -> str:
    """What the system refused to the keeper itself, the log above all."""
    if error.errno in _DISK_ERRORS:
        return f"the runner's disk does not take the log: {error.strerror}"
    return f"the attempt's keeper failed: {error}"


def timeout_words(ms: int, step: str = "") -> str:
    """That a step, or the whole attempt, took longer than it may."""
    return f"step '{step}' timed out after {duration_words(ms)}" if step else f"timed out after {duration_words(ms)}"


def duration_words(ms: int) -> str:
    """A time as people write it."""
    for unit, name in ((3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= unit and ms % unit == 0:
            return f"{ms // unit} {name}"
    return f"{ms} ms"
