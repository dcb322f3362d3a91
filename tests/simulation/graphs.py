"""Invented graphs: what jobs are to each other beyond `needs`, and what each condition means, worked out anew.

What belongs here: material, and the meaning of invented conditions in Python, which knows nothing of the language that
they are written in. What does not: whether the dispatcher kept to them (relations).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from surveil.frozen import replace
from surveil.protocol import JobSpec, TakenArtifact
from tests.simulation.options import Options

WORD: Final = "word"
"""The one output that every job has."""
WORDS: Final = ("even", "odd")
GIVEN: Final = "GIVEN"
"""The variable into which a job has the word of its first need filled."""
KEPT: Final = "kept"
"""The artifact that such a job takes from each of its needs."""
GROUPS: Final = ("deploy", "device-${{ branch }}")
PRIORITIES: Final = (-3, -1, 0, 1, 5)


@dataclass(frozen=True, slots=True)
class Seen:
    """How a job ended, for those that need it."""

    state: str
    tolerated: bool
    word: str

    @property
    def passed(self) -> bool:
        return self.state == "passed" or self.tolerated

    @property
    def failed(self) -> bool:
        return self.state in {"failed", "errored"} and not self.tolerated


@dataclass(frozen=True, slots=True)
class View:
    """All that an invented condition asks for; `needs` in their order, `before` with all that these needed in turn."""

    ref: str
    needs: tuple[Seen, ...]
    before: tuple[Seen, ...]

    @property
    def passed(self) -> bool:
        return all(need.passed for need in self.needs)

    @property
    def failed(self) -> bool:
        return any(need.failed for need in self.before)


CONDITIONS: Final[Mapping[str, Callable[[View], bool]]] = {
    "passed": lambda view: view.passed,
    "always": lambda _: True,
    "failed": lambda view: view.failed,
    "passed() || failed()": lambda view: view.passed or view.failed,
    "!passed()": lambda view: not view.passed,
    "branch == 'main'": lambda view: view.passed and view.ref == "refs/heads/main",
    "always() && branch != 'main'": lambda view: view.ref != "refs/heads/main",
    "needs['{need}'].state == 'failed'": lambda view: view.needs[0].state == "failed",
    "needs['{need}'].state in ['passed', 'skipped']": lambda view: view.needs[0].state in {"passed", "skipped"},
    "needs['{need}'].outputs.word == 'even'": lambda view: view.passed and view.needs[0].word == "even",
}
"""What is invented, `{need}` being a job's first need, and what it means."""
ALONE: Final = tuple(text for text in CONDITIONS if "{need}" not in text)


def meaning(spec: JobSpec) -> Callable[[View], bool]:
    """What an invented condition means."""
    first = spec.needs[0] if spec.needs else ""
    return next(means for text, means in CONDITIONS.items() if text.replace("{need}", first) == spec.when)


def relate(options: Options, dice: Random, jobs: tuple[JobSpec, ...]) -> tuple[JobSpec, ...]:
    """Give some jobs a matrix, a condition, a group and so on."""
    if not options.graphs_pm:
        return jobs
    cells: dict[str, list[JobSpec]] = {}
    for job in jobs:
        needs = tuple(cell.name for need in job.needs for cell in cells[need])
        cells[job.name] = _cells(options, dice, _related(options, dice, replace(job, needs=needs)))
    return tuple(cell for found in cells.values() for cell in found)


def _related(options: Options, dice: Random, job: JobSpec) -> JobSpec:
    if _chance(dice, options.graphs_pm):
        text = dice.choice(tuple(CONDITIONS) if job.needs else ALONE)
        job = replace(job, when=text.replace("{need}", job.needs[0] if job.needs else ""))
    if job.needs and _chance(dice, options.graphs_pm):
        takes = tuple(TakenArtifact(job=need, name=KEPT) for need in job.needs)
        job = replace(job, env={GIVEN: "${{ needs['" + job.needs[0] + "'].outputs.word }}"}, artifacts_from=takes)
    grouped = _chance(dice, options.groups_pm)
    return replace(
        job,
        continue_on_error=_chance(dice, options.graphs_pm // 2),
        priority=dice.choice(PRIORITIES),
        concurrency=dice.choice(GROUPS) if grouped else "",
        cancel_superseded=grouped and _chance(dice, 500),
    )


def _cells(options: Options, dice: Random, job: JobSpec) -> list[JobSpec]:
    if not _chance(dice, options.graphs_pm):
        return [job]
    fail_fast = _chance(dice, 700)
    values = [str(number) for number in range(dice.randint(1, 3))]
    return [replace(job, name=f"{job.name}[x={x}]", matrix={"x": x}, fail_fast=fail_fast) for x in values]


def _chance(dice: Random, per_mille: int) -> bool:
    return per_mille > 0 and dice.random() * 1000 < per_mille
