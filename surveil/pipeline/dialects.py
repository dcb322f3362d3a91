"""The two other formats that are read as pipelines: `.runnerci.yml` and `narwhal.yml`.

What belongs here: their keys, and how they become the same declarations as those of `.surveil.yml`. Whoever wrote them
knew steps in containers as root only, so that is what they are.
What does not: anything that they share with `.surveil.yml` (`checking`, `values`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import Field

from surveil.core.declared import Complaint, ImageDeclaration, JobDeclaration, StepDeclaration, Text
from surveil.core.spelling import quoted
from surveil.pipeline.checking import Declared, Strict, Tables, check, place_at
from surveil.pipeline.document import Node
from surveil.pipeline.values import (
    TIMEOUT_MS_DEFAULT,
    Env,
    JobName,
    Script,
    Texts,
    TextValue,
    Title,
    Version,
    job_name,
)


class RunnerciStep(Strict):
    """One entry of `jobs.NAME.steps` in `.runnerci.yml`."""

    name: Title | None = None
    run: Script


class RunnerciJob(Strict):
    """One entry of `jobs` in `.runnerci.yml`."""

    image: TextValue | None = None
    steps: list[RunnerciStep]


class RunnerciFile(Strict):
    """The whole `.runnerci.yml`."""

    version: Version = 1
    jobs: dict[JobName, RunnerciJob]


class NarwhalStep(Strict):
    """One entry of `steps` in `narwhal.yml`; what it depends on must have passed before it starts."""

    name: Title
    dependencies: Texts = ()
    command: Script


class NarwhalFile(Strict):
    """The whole `narwhal.yml`."""

    name: Title | None = None
    image: TextValue | None = None
    env: Env = Field(default_factory=dict)
    steps: list[NarwhalStep]


RUNNERCI_TABLES: Final[Tables] = {
    (): RunnerciFile,
    ("jobs", "*"): RunnerciJob,
    ("jobs", "*", "steps", "*"): RunnerciStep,
}
NARWHAL_TABLES: Final[Tables] = {(): NarwhalFile, ("steps", "*"): NarwhalStep}


def declare_runnerci(root: Node) -> Declared | list[Complaint]:
    """Read the tree of a `.runnerci.yml`: jobs that do not wait for each other, each with steps."""
    checked = check(RunnerciFile, RUNNERCI_TABLES, root)
    if isinstance(checked, list):
        return checked
    jobs = [
        JobDeclaration(
            name=Text(name, place_at(root, ("jobs", name))),
            timeout_ms=TIMEOUT_MS_DEFAULT,
            steps=tuple(StepDeclaration(name=step.name, run=step.run) for step in job.steps),
            image=ImageDeclaration(name=job.image, root=True) if job.image else None,
        )
        for name, job in checked.jobs.items()
    ]
    return Declared(jobs=jobs)


def declare_narwhal(root: Node) -> Declared | list[Complaint]:
    """Read the tree of a `narwhal.yml`: its steps form a graph, so each becomes a job with one step."""
    checked = check(NarwhalFile, NARWHAL_TABLES, root)
    if isinstance(checked, list):
        return checked
    complaints: list[Complaint] = []
    seen: dict[str, int] = {}
    jobs: list[JobDeclaration] = []
    for step in checked.steps:
        first = seen.setdefault(step.name.value, step.name.place.line)
        if first != step.name.place.line:
            message = f"the step {quoted(step.name.value)} exists twice, first in line {first}"
            complaints.append(Complaint(message, step.name.place, "give each step its own name"))
        try:
            job_name(step.name.value)
        except ValueError as error:
            complaints.append(Complaint(str(error), step.name.place))
        jobs.append(
            JobDeclaration(
                name=step.name,
                needs=step.dependencies,
                timeout_ms=TIMEOUT_MS_DEFAULT,
                steps=(StepDeclaration(name=step.name, run=step.command),),
                image=ImageDeclaration(name=checked.image, root=True) if checked.image else None,
            )
        )
    return complaints or Declared(env=checked.env, jobs=jobs)


DECLARE: Final[Mapping[str, Callable[[Node], Declared | list[Complaint]]]] = {
    ".runnerci.yml": declare_runnerci,
    "narwhal.yml": declare_narwhal,
}
"""How the tree of a file is read, by its name."""
