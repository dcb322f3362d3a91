"""What jobs put out, filled into the texts of those that need them: `${{ needs.build.outputs.version }}`; which
attempt's artifacts they take (`taking`), and which of their steps run after what.

What belongs here: how much a job may put out, and a job as its runner gets it, once its needs have ended. What does
not: what may stand in its texts (`filling`, when the pipeline is read) and what such names stand for (`decisions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from surveil.core.conditions import WORDS
from surveil.core.decisions import Facts, fill_in, turn_of
from surveil.core.references import JOB_BYTES_MAX, Room, TooLargeError
from surveil.core.spelling import quoted
from surveil.core.steps import name_from
from surveil.core.taking import decided, weight
from surveil.frozen import replace
from surveil.protocol import JobOutput, JobSpec, StepSpec

SKIPPED_CHARACTERS_MAX: Final = 500
"""Of the sentence that says why a step does not run."""
PUT_OUT_BYTES_MAX: Final = 64 * 1024
"""UTF-8 bytes of the names and values that one job puts out. A keeper takes no more from its steps."""


class UnfitError(ValueError):
    """A job cannot be handed out: with what its needs put out it would be larger than one may be, or a step's condition
    cannot be decided; a sentence.
    """


def excess(outputs: Sequence[JobOutput]) -> str:
    """What is wrong with what a runner says a job put out, empty where nothing is: no keeper lets it come to that."""
    bytes_said = sum(len(output.name.encode()) + len(output.value.encode()) for output in outputs)
    if bytes_said > PUT_OUT_BYTES_MAX:
        return f"it says that the job put out {bytes_said // 1024} KiB; {PUT_OUT_BYTES_MAX // 1024} KiB are the most"
    if len({output.name for output in outputs}) < len(outputs):
        return "it says that the job put out two values under one name"
    return ""


def is_open(spec: JobSpec) -> bool:
    """Whether something is to be filled in."""
    steps = any(step.when not in WORDS or "${{" in step.run or _has(step.env) for step in spec.steps)
    return bool(spec.artifacts_from) or _has(spec.env) or steps


def _has(env: Mapping[str, str]) -> bool:
    return any("${{" in value for value in env.values())


def complete(spec: JobSpec, facts: Facts) -> JobSpec:
    """The job with what its needs put out in its scripts and variables, with the attempts whose artifacts it takes, and
    with the conditions of its steps decided as far as they can be.

    Raises:
        UnfitError: a text, or all of them, would be too large, or a step's condition makes no sense with these values.
    """
    room = Room()
    try:
        env = _complete_env(spec.env, facts, room)
        steps = tuple(_complete_step(step, facts, room) for step in spec.steps)
    except TooLargeError as error:
        what = "it" if error.whole else "a text of it"
        raise UnfitError(f"{what} is larger than {error.kib} KiB with what its needs put out") from error
    whole = replace(spec, env=env, steps=steps, artifacts_from=decided(spec.artifacts_from, facts.needs))
    if _weigh(whole) > JOB_BYTES_MAX:
        raise UnfitError(f"it is larger than {JOB_BYTES_MAX // 1024} KiB with what its needs put out")
    return whole


def _complete_env(env: Mapping[str, str], facts: Facts, room: Room) -> dict[str, str]:
    return {name: fill_in(value, facts, room) for name, value in env.items()}


def _complete_step(step: StepSpec, facts: Facts, room: Room) -> StepSpec:
    run = fill_in(step.run, facts, room)
    name = name_from(run) if run != step.run and step.name == name_from(step.run) else step.name
    filled = replace(step, name=name, run=run, env=_complete_env(step.env, facts, room))
    if step.when in WORDS:
        return filled
    turn = turn_of(step.when, step.env, facts)
    if turn.problem:
        raise UnfitError(f"the `when` of its step {quoted(step.name)} cannot be decided: {turn.problem}")
    if not turn.word:
        return replace(filled, when="passed", skipped=f"its `when` is false: {turn.because}"[:SKIPPED_CHARACTERS_MAX])
    return replace(filled, when=turn.word)


def _weigh(spec: JobSpec) -> int:
    envs = (spec.env, spec.matrix, *(step.env for step in spec.steps))
    texts = [*(step.run for step in spec.steps), *(part for env in envs for item in env.items() for part in item)]
    return sum(len(text.encode()) for text in texts) + weight(spec.artifacts_from)
