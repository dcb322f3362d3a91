"""Whether a job runs, now that all that it needs has ended, and what it may know of that.

What belongs here: the rules, over jobs by their names: the dispatcher follows them, and `surveil run` on one machine.
What does not: what comes of a condition (decisions), and where the jobs are kept (state, `cli.here`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from surveil.core.decisions import Facts, Need, decide
from surveil.core.model import Status
from surveil.core.outputs import UnfitError, complete, is_open
from surveil.frozen import dataclass
from surveil.protocol import JobSpec

Look: TypeAlias = Callable[[str], tuple[JobSpec, Need]]
"""A job of the same build by its name, and how it looks to those that need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What jobs may know of the commit under test; `paths` that changed with it are None where nobody knows."""

    event: str
    repo: str
    ref: str
    sha: str
    paths: tuple[str, ...] | None = None


def whether(spec: JobSpec, commit: Commit, look: Look) -> tuple[Status, str]:
    """`queued` where the job runs; else the verdict that it gets instead, and why."""
    if spec.when == "passed":  # Most jobs, and no question for the evaluator.
        needs = ((name, look(name)[1]) for name in spec.needs)
        hindrance = next(((name, need.state) for name, need in needs if not counts_as_passed(need)), None)
        if hindrance is not None:
            return Status.SKIPPED, f"needs {_which(*hindrance)}"
    else:
        decision = decide(spec.when, facts_of(spec, commit, look))
        if decision.problem:
            return Status.ERRORED, f"its `when` cannot be decided: {decision.problem}"
        if not decision.holds:
            return Status.SKIPPED, f"its `when` is false: {decision.because}"
    if is_open(spec):
        try:
            complete(spec, facts_of(spec, commit, look))
        except UnfitError as error:
            return Status.ERRORED, str(error)
    return Status.QUEUED, ""


def counts_as_passed(need: Need) -> bool:
    """Whether a job that ended so is in nobody's way."""
    return need.state == Status.PASSED or need.tolerated


def facts_of(spec: JobSpec, commit: Commit, look: Look) -> Facts:
    """All that this job may ask for."""
    needs = {name: look(name)[1] for name in spec.needs}
    return Facts(
        event=commit.event, repo=commit.repo, ref=commit.ref, sha=commit.sha, paths=commit.paths, matrix=spec.matrix,
        env=spec.env, needs=needs, behind=_behind(spec, look),
    )  # fmt: skip


def _behind(spec: JobSpec, look: Look) -> dict[str, Need]:
    """What the needs of a job needed in turn, and so on."""
    found: dict[str, Need] = {}
    ahead = [*spec.needs]
    while ahead:
        for name in look(ahead.pop())[0].needs:
            if name not in found:
                found[name] = look(name)[1]
                ahead.append(name)
    return {name: need for name, need in found.items() if name not in spec.needs}


def _which(name: str, state: str) -> str:
    return f"{name}, which {state if state in {Status.PASSED, Status.FAILED} else f'was {state}'}"
