"""What an attempt is said to have come to.

What belongs here: its words, and the rule by which collecting may change the verdict of its steps. What does not: when
an attempt is collected and when it is reported (`run_attempt`).

The rule: a job that passed and lacks an artifact which it requires has not passed. It `failed` where its steps did not
make the artifact; where they did and it could not be kept, that is ours, or the end of whoever ended it. Nothing else
changes a verdict.
"""

from __future__ import annotations

from typing import Final

from surveil.core.run_events import Collected, Ended
from surveil.core.run_model import Ending
from surveil.frozen import replace
from surveil.protocol import REMARKS_MAX, Finished, JobSpec, Outcome, Remark, StepReport

REMARK_CHARS_MAX: Final = 1_000
"""Names in it are strangers', and a message holds many remarks."""


def collects(spec: JobSpec, outcome: Outcome) -> bool:
    """Whether an attempt whose steps came to this is collected: what was ended from outside is half a work."""
    return spec.collects and outcome in {"passed", "failed"}


def of_steps(event: Ended, outcome: Outcome, reason: str) -> Finished:
    """What the steps of an attempt came to, by its keeper's word; `outcome` and `reason` may be ours."""
    job, attempt = event.id
    return Finished(
        job=job,
        attempt=attempt,
        outcome=outcome,
        reason=reason,
        exit_code=event.exit_code,
        started_after_ms=event.started_after_ms,
        finished_after_ms=event.finished_after_ms,
        log_bytes=event.log_bytes,
        steps=event.steps,
        isolation=event.isolation,
        outputs=event.outputs if outcome in {"passed", "failed"} else (),
        blameless=event.blameless and outcome == "errored",
    )


def closed(step: StepReport, finished_after_ms: int) -> StepReport:
    """A step of an attempt of which nothing runs any more."""
    if step.state == "pending":
        return replace(step, state="skipped")
    if step.state == "running":
        return replace(step, state="errored", finished_after_ms=finished_after_ms)
    return step


def after_collecting(draft: Finished, said: Collected) -> Finished:
    """The verdict once all is kept that could be."""
    remarked = _remarked(draft, said.remarks)
    if draft.outcome != "passed":
        return remarked
    if said.missing:
        return replace(remarked, outcome="failed", reason=said.missing[:REMARK_CHARS_MAX])
    if said.unkept:
        reason = said.unkept[:REMARK_CHARS_MAX]
        return replace(remarked, outcome="errored", reason=reason, blameless=said.blameless)
    return remarked


def uncollected(draft: Finished, spec: JobSpec, ending: Ending) -> Finished:
    """The verdict where collecting was given up."""
    sentence = f"its files were not all kept: {ending.reason}"
    remarked = _remarked(draft, (sentence,))
    required = next((artifact.name for artifact in spec.artifacts if artifact.required), None)
    if draft.outcome != "passed" or required is None:
        return remarked
    return replace(remarked, outcome=ending.outcome, reason=f"it requires the artifact {required}, and {sentence}")


def _remarked(draft: Finished, sentences: tuple[str, ...]) -> Finished:
    """The same with remarks at the end of its log: behind the last step that printed something, and later than it."""
    if not sentences or not draft.steps:
        return draft
    last = max((place for place, step in enumerate(draft.steps) if step.log_at is not None), default=0)
    step = draft.steps[last]
    after_ms = max(draft.finished_after_ms, (step.finished_after_ms or 0) + 1)
    made = [Remark(at=draft.log_bytes, after_ms=after_ms, text=sentence[:REMARK_CHARS_MAX]) for sentence in sentences]
    said = replace(step, remarks=(*step.remarks, *made)[-REMARKS_MAX:])
    return replace(draft, steps=(*draft.steps[:last], said, *draft.steps[last + 1 :]))


def about_attempt(remark: Remark, step: StepReport, log_bytes: int) -> bool:
    """Whether what stands with a step is said of its whole attempt, whose log has so many bytes: of what was kept once
    all steps had ended, say.
    """
    return remark.at >= log_bytes and step.finished_after_ms is not None and remark.after_ms > step.finished_after_ms
