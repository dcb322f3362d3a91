"""Invented commits: what their pipelines ask for, and what their steps really do when they run.

What belongs here: material. What does not: how it travels.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from surveil.frozen import replace
from surveil.protocol import ArtifactSpec, Assign, ImageSpec, JobSpec, StepSpec
from tests.simulation.options import Options

LABELS = ("gpu", "big")
_STEPS_MAX = 3
MISSING = "missing"
"""The name of an artifact that no step ever makes."""
NOWHERE = "nowhere"
"""The image that no registry has, and of which each runner says so in the same words."""
NOT_THERE = f"image {NOWHERE} cannot be fetched"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, with the jobs that its pipeline file asks for; none where the file is broken."""

    repo: str
    sha: str
    pipeline: str
    jobs: tuple[JobSpec, ...]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What one step will do."""

    lasts_ms: int
    exit_code: int
    writes: int
    kills_host: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one attempt's processes will do, if they are let."""

    steps: tuple[PlannedStep, ...]
    output: bytes
    stubborn: bool


def invent_jobs(options: Options, dice: Random, collect_dice: Random) -> tuple[JobSpec, ...]:
    """Ask for some jobs; `needs` point backwards, so that there is no circle."""
    jobs: list[JobSpec] = []
    for number in range(dice.randint(1, options.jobs_max)):
        needs = tuple(job.name for job in jobs if _chance(dice, options.needs_pm // 2))
        exclusive = _chance(dice, options.exclusive_pm)
        steps = tuple(
            StepSpec(name=f"s{at}", run=_nature(options, dice), env={}) for at in range(dice.randint(1, _STEPS_MAX))
        )
        jobs.append(
            JobSpec(
                name=f"j{number}",
                needs=needs,
                when="always" if needs and _chance(dice, 200) else "passed",
                labels=(dice.choice(LABELS),) if _chance(dice, options.labels_pm) else (),
                env={},
                timeout_ms=2 * options.job_ms if _chance(dice, options.timeout_pm) else 3_600_000,
                retry=dice.randint(0, options.retry_max),
                on_runner_loss=dice.choice(("fail", "hold")) if exclusive else "retry",
                steps=steps,
                matrix={},
                artifacts=_artifacts(options, collect_dice),
            )
        )
    return tuple(jobs)


def with_images(options: Options, dice: Random, jobs: tuple[JobSpec, ...]) -> tuple[JobSpec, ...]:
    """Let some jobs have an image that is not there."""
    if not options.nowhere_pm:
        return jobs
    image = ImageSpec(name=NOWHERE)
    return tuple(replace(job, image=image) if _chance(dice, options.nowhere_pm) else job for job in jobs)


def _artifacts(options: Options, dice: Random) -> tuple[ArtifactSpec, ...]:
    """What a job wants kept of its work: mostly nothing, and sometimes what its steps do not make."""
    if not _chance(dice, options.collects_pm):
        return ()
    name = MISSING if _chance(dice, 200) else "report"
    return (ArtifactSpec(name=name, paths=("*",), required=_chance(dice, 500)),)


def _nature(options: Options, dice: Random) -> str:
    """What a step is like, as the text of its script."""
    if _chance(dice, options.poison_pm):
        return "poison"
    if _chance(dice, options.fail_pm):
        return "fail"
    return "flaky" if _chance(dice, options.flaky_pm) else "pass"


def plan(options: Options, dice: Random, assign: Assign) -> Plan:
    """Decide what an attempt's processes will do."""
    steps = tuple(
        PlannedStep(
            lasts_ms=dice.randint(1, options.job_ms),
            exit_code=1 if step.run == "fail" or (step.run == "flaky" and _chance(dice, 500)) else 0,
            writes=dice.randint(0, options.output_bytes) if options.output_bytes else 0,
            kills_host=step.run == "poison",
        )
        for step in assign.spec.steps
    )
    whole = sum(step.writes for step in steps)
    tag = f"{assign.job}#{assign.attempt}:"
    output = tag + f"\n{tag}".join(map(str, range(whole // len(tag) + 1))) + "\n"
    return Plan(steps=steps, output=output.encode()[:whole], stubborn=_chance(dice, options.stubborn_pm))


def _chance(dice: Random, per_mille: int) -> bool:
    return per_mille > 0 and dice.random() * 1000 < per_mille
