"""The promise that every way of running attempts keeps.

What belongs here: the interface between the runner's hands and an executor. What does not: any executor
(`process`). An executor that runs nothing at all keeps it too, which is how the rest is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from surveil.core.model import AttemptId
from surveil.core.run_events import (
    Collected,
    Ended,
    FoundAttempt,
    KeeperLost,
    LogGrew,
    PreparationFailed,
    Prepared,
    StepsChanged,
)
from surveil.execute.logs.output import Chunk
from surveil.frozen import dataclass
from surveil.protocol import Assign, Outcome


@dataclass(frozen=True, slots=True)
class Broken:
    """The executor failed by a mistake of ours. There is no going on; a next process finds what runs."""

    failure: BaseException


Happening: TypeAlias = Prepared | PreparationFailed | StepsChanged | Ended | Collected | KeeperLost | LogGrew | Broken
Tell: TypeAlias = Callable[[Happening], None]


class Executor(Protocol):
    """Runs attempts, and tells what becomes of them through the function given to `open`.

    All calls are made, and all news is told, in the loop's thread; none of them blocks it for longer than it takes
    to start a process. Instants are milliseconds since the machine's start (`clock.boot_ms`). An attempt that is
    not known is no error: the order came late.
    """

    async def open(self, tell: Tell) -> list[FoundAttempt]:
        """Begin, and return what earlier processes left on disk; what still runs there is told of from now on.

        `accepted_at` of what is found is in the executor's instants. Raises SurveilError when it cannot work at
        all.
        """

    def hold(self, assign: Assign, accepted_boot_ms: int) -> None:
        """Note on disk what is to be done, so that a next process finds it. Raises OSError."""

    def prepare(self, assign: Assign) -> None:
        """Make the attempt's work tree; tells `Prepared` or `PreparationFailed`."""

    def start(self, assign: Assign, accepted_boot_ms: int, lease_until_boot_ms: int | None) -> None:
        """Start the attempt; tells `StepsChanged` and `LogGrew` any number of times, then `Ended` or `KeeperLost`
        once.

        Tells `PreparationFailed` if it cannot be started at all.
        """

    def signal(self, attempt: AttemptId, grace_ms: int) -> None:
        """Ask the attempt's processes to end, and make them after `grace_ms`."""

    def set_lease(self, attempt: AttemptId, until_boot_ms: int) -> None:
        """Let an attempt that was started with a lease go on until then."""

    def kill(self, attempt: AttemptId) -> None:
        """End the attempt without regard for what watches over it; tells `KeeperLost`."""

    def collect(self, assign: Assign, outcome: Outcome) -> None:
        """Keep what the job asks for of an attempt that told `Ended`; tells `Collected` once, also in a next process.

        Its work tree is there until then.
        """

    def read_log(self, attempt: AttemptId, at: int, count: int) -> Chunk | None:
        """Up to `count` bytes of the log from byte `at` on; None if there are none. Raises ValueError if it is
        damaged.
        """

    def forget(self, attempt: AttemptId) -> None:
        """Delete all that is left of the attempt, as soon as nothing uses it."""

    async def close(self) -> None:
        """Stop telling and let go; what runs goes on."""
