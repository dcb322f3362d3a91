"""What jobs put out, filled into the texts of those that need them: `${{ needs.build.outputs.version }}`.

What belongs here: a job as its runner gets it, once its needs have ended. What does not: what may stand in its texts
(`filling`, when the pipeline is read) and what such names stand for (`decisions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from surveil.core.decisions import Facts, fill_in
from surveil.core.filling import TEXT_BYTES_MAX
from surveil.frozen import replace
from surveil.protocol import JobSpec, StepSpec

JOB_BYTES_MAX: Final = 768 * 1024
"""UTF-8 bytes of all of a job's scripts and values then; it travels in one message of at most 1 MiB."""


class OutputsTooLargeError(ValueError):
    """A job would be larger than one may be, with what its needs put out; a sentence."""


def is_open(spec: JobSpec) -> bool:
    """Whether something is to be filled in."""
    return _has(spec.env) or any("${{" in step.run or _has(step.env) for step in spec.steps)


def _has(env: Mapping[str, str]) -> bool:
    return any("${{" in value for value in env.values())


def complete(spec: JobSpec, facts: Facts) -> JobSpec:
    """The job with what its needs put out in its scripts and variables.

    Raises:
        OutputsTooLargeError: a text, or all of them, would be too large.
    """
    env = _complete_env(spec.env, facts)
    steps = tuple(_complete_step(step, facts) for step in spec.steps)
    whole = replace(spec, env=env, steps=steps)
    if _weigh(whole) > JOB_BYTES_MAX:
        raise OutputsTooLargeError(f"it is larger than {JOB_BYTES_MAX // 1024} KiB with what its needs put out")
    return whole


def _complete_env(env: Mapping[str, str], facts: Facts) -> dict[str, str]:
    return {name: _complete(value, facts) for name, value in env.items()}


def _complete_step(step: StepSpec, facts: Facts) -> StepSpec:
    return replace(step, run=_complete(step.run, facts), env=_complete_env(step.env, facts))


def _complete(text: str, facts: Facts) -> str:
    filled = fill_in(text, facts)
    if len(filled.encode()) > TEXT_BYTES_MAX:
        kib = TEXT_BYTES_MAX // 1024
        raise OutputsTooLargeError(f"a text of it is larger than {kib} KiB with what its needs put out")
    return filled


def _weigh(spec: JobSpec) -> int:
    envs = (spec.env, spec.matrix, *(step.env for step in spec.steps))
    texts = [*(step.run for step in spec.steps), *(part for env in envs for item in env.items() for part in item)]
    return sum(len(text.encode()) for text in texts)
