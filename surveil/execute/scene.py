"""Around a job that runs here and now: what it is told, what is done beside its steps, and what it leaves.

What belongs here: these three records. What does not: running the job (`local`).
"""

from __future__ import annotations

from typing import Final

from surveil.execute import files
from surveil.execute.collect.collecting import Collector, Restore
from surveil.execute.collect.keeping import required
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass
from surveil.protocol import Assign, Finished, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What steps are told of the attempt that they are, and whether their commit is trusted."""

    build: str = "0"
    attempt: int = 1
    event: str = "manual"
    trusted: bool = True

    def order(self, spec: JobSpec, *, repo: str, ref: str, sha: str) -> Assign:
        """The order as a runner would get it, but for what only that runner would need."""
        return Assign(
            epoch=0, incarnation=0, anchor=0, job=f"{self.build}/{spec.name}", attempt=self.attempt,
            build=int(self.build), repo=repo, ref=ref, sha=sha, spec=spec, event=self.event, trusted=self.trusted,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is done beside a job's steps: `restore` before the first one, and the collectors' parts after the last."""

    restore: Restore = lambda _: None
    collectors: tuple[Collector, ...] = (required,)


BY_HAND: Final = Told()
NOTHING_BESIDE: Final = Beside()
"""Artifacts stay where they are; one that is required and was not made fails the job, as on a runner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An attempt whose steps have ended, with all that they left, for whoever wants to look around."""

    finished: Finished
    order: files.Order
    workspace: Workspace
    secrets: Entrusted
    container: str = ""
    """What its container is called, which has ended as well; empty for one that has none."""
