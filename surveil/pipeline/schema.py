"""What `.surveil.yml` may say.

What belongs here: the models of the file's keys. What does not: YAML (`document`), other formats' keys
(`dialects`), single values (`values`), and what the jobs mean together (`core.pipeline`).
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from surveil.core.declared import Complaint, JobDeclaration, StepDeclaration, Text
from surveil.pipeline.checking import Declared, Strict, Tables, check, place_at
from surveil.pipeline.document import Node
from surveil.pipeline.values import (
    TIMEOUT_MS_DEFAULT,
    Axis,
    Duration,
    Env,
    Flag,
    JobName,
    NoImage,
    OnRunnerLossValue,
    Retry,
    Script,
    Shell,
    Texts,
    Title,
    Version,
    WhenValue,
)


class StepTable(Strict):
    """One entry of `jobs.NAME.steps`."""

    name: Title | None = None
    run: Script
    shell: Shell = ""
    timeout: Duration = 0
    continue_on_error: Flag = False
    env: Env = Field(default_factory=dict)

    def declare(self) -> StepDeclaration:
        """The same as core.pipeline takes it."""
        return StepDeclaration(
            name=self.name,
            run=self.run,
            shell=self.shell,
            timeout_ms=self.timeout,
            continue_on_error=self.continue_on_error,
            env=self.env,
        )


class JobTable(Strict):
    """One entry of `jobs`."""

    image: NoImage = None
    labels: Texts = ()
    needs: Texts = ()
    when: WhenValue | None = None
    matrix: dict[Axis, Texts] = Field(default_factory=dict)
    env: Env = Field(default_factory=dict)
    timeout: Duration = TIMEOUT_MS_DEFAULT
    retry: Retry = 0
    on_runner_loss: OnRunnerLossValue = "retry"
    steps: list[StepTable]


class PipelineTable(Strict):
    """The whole file."""

    version: Version = 1
    env: Env = Field(default_factory=dict)
    jobs: dict[JobName, JobTable]


TABLES: Final[Tables] = {(): PipelineTable, ("jobs", "*"): JobTable, ("jobs", "*", "steps", "*"): StepTable}


def declare(root: Node) -> Declared | list[Complaint]:
    """Read the tree of a `.surveil.yml`."""
    checked = check(PipelineTable, TABLES, root)
    if isinstance(checked, list):
        return checked
    jobs = []
    for name, table in checked.jobs.items():
        jobs.append(
            JobDeclaration(
                name=Text(name, place_at(root, ("jobs", name))),
                needs=table.needs,
                when=table.when,
                labels=table.labels,
                env=table.env,
                timeout_ms=table.timeout,
                retry=table.retry,
                on_runner_loss=table.on_runner_loss,
                steps=tuple(step.declare() for step in table.steps),
                matrix=table.matrix,
            )
        )
    return checked.env, jobs
