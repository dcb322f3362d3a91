"""A loaded pipeline shown to people and scripts: its expanded graph.

What belongs here: words and JSON about a pipeline that is valid. What does not: complaints (`Invalid.render`).
"""

from __future__ import annotations

from typing import Any

from surveil.core.conditions import WORDS
from surveil.core.graph import in_order
from surveil.core.spelling import format_duration, format_size, printable, quoted
from surveil.core.triggers import ANY, describe
from surveil.pipeline import Pipeline
from surveil.protocol import ImageSpec, JobSpec, StepSpec

_ENDED = {"passed": " (passed)", "failed": " (one failed)", "always": " (however they end)"}


def explain(pipeline: Pipeline) -> str:
    """The graph as text: jobs in ranks, a rank after all that it waits for, each with what is not the default."""
    by_name = {job.name: job for job in pipeline.jobs}
    ranks = in_order(pipeline.jobs)
    steps = sum(len(job.steps) for job in pipeline.jobs)
    lines = [f"{pipeline.filename}: {_count(len(by_name), 'job')}, {_count(steps, 'step')}"]
    if pipeline.triggers != ANY:
        lines += ["", "built on", *(f"   {printable(line)}" for line in describe(pipeline.triggers))]
    for number, rank in enumerate(ranks, start=1):
        lines += ["", f"{number}. {'first' if number == 1 else 'then'}"]
        for name in rank:
            lines += _explain_job(by_name[name])
    return "\n".join(lines)


def as_json(pipeline: Pipeline) -> dict[str, Any]:
    """The graph for `--json`: `file`, and `jobs` in its order; durations in ms, `null` for none of its own."""
    return {"file": pipeline.filename, "jobs": [_job_json(job) for job in pipeline.jobs]}


def _explain_job(job: JobSpec) -> list[str]:
    lines = [f"   {printable(job.name)}"]
    if job.needs:
        lines.append(f"     needs     {', '.join(job.needs)}{_ENDED.get(job.when, '')}")
    if job.when not in WORDS:
        lines.append(f"     when      {printable(job.when)}")
    if job.labels:
        lines.append(f"     on        runners with {', '.join(job.labels)}")
    if job.image is not None:
        lines.append(f"     in        a container of {_explain_image(job.image)}")
    if job.env:
        lines.append(f"     env       {', '.join(sorted(job.env))}")
    if job.secrets:
        lines.append(f"     secrets   {', '.join(use.name for use in job.secrets)}")
    if job.concurrency:
        superseding = ", where a newer job cancels older ones" if job.cancel_superseded else ""
        lines.append(f"     alone in  the group {quoted(job.concurrency)}{superseding}")
    if notes := _notes(job):
        lines.append(f"     besides   {', '.join(notes)}")
    again = f", {job.retry} more after a failure" if job.retry else ""
    lines.append(
        f"     attempts  at most {format_duration(job.timeout_ms)} each{again}; a lost runner: {job.on_runner_loss}"
    )
    lines += [
        f"     caches    {', '.join(map(printable, cache.paths))} ({printable(cache.key)})" for cache in job.cache
    ]
    for artifact in job.artifacts:
        notes = [*(["required"] if artifact.required else []), *_kept_for(artifact.retention_ms)]
        note = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"     keeps     {printable(artifact.name)}: {', '.join(map(printable, artifact.paths))}{note}")
    for number, step in enumerate(job.steps, start=1):
        lines.append(f"     {number:>2}. {_explain_step(step)}")
        lines += [f"         | {printable(line)}" for line in _commands(step)]
    return lines


def _notes(job: JobSpec) -> list[str]:
    notes = []
    if job.continue_on_error:
        notes.append("may fail")
    if job.fail_fast and job.matrix:
        notes.append("a failure cancels the other cells")
    if job.priority:
        notes.append(f"priority {job.priority}")
    return notes


def _kept_for(retention_ms: int) -> list[str]:
    return [f"for {format_duration(retention_ms)}"] if retention_ms else []


def _explain_image(image: ImageSpec) -> str:
    notes = [] if image.pull == "missing" else [f"pull: {image.pull}"]
    if image.cpu_thousandths:
        notes.append(f"{image.cpu_thousandths / 1000:g} processors")
    if image.memory_bytes:
        notes.append(f"{format_size(image.memory_bytes)} of memory")
    if image.processes:
        notes.append(f"{image.processes} processes")
    return image.name + (f" ({', '.join(notes)})" if notes else "")


def _image_json(image: ImageSpec) -> dict[str, Any]:
    return {
        "name": image.name,
        "pull": image.pull,
        "cpus": image.cpu_thousandths / 1000 or None,
        "memory_bytes": image.memory_bytes or None,
        "pids": image.processes or None,
    }


def _commands(step: StepSpec) -> list[str]:
    """What a step runs, where its name does not say all of it."""
    lines = step.run.strip("\n").split("\n")
    return lines if lines != [step.name] else []


def _explain_step(step: StepSpec) -> str:
    notes = [step.shell or "sh -eu"]
    if step.timeout_ms:
        notes.append(f"at most {format_duration(step.timeout_ms)}")
    if step.continue_on_error:
        notes.append("may fail")
    return f"{printable(step.name)}  ({', '.join(notes)})"


def _job_json(job: JobSpec) -> dict[str, Any]:
    return {
        "name": job.name,
        "needs": list(job.needs),
        "when": job.when,
        "labels": list(job.labels),
        "image": None if job.image is None else _image_json(job.image),
        "matrix": dict(job.matrix),
        "env": dict(job.env),
        "secrets": [{"name": use.name, "env": use.env or None, "file": use.file or None} for use in job.secrets],
        "timeout_ms": job.timeout_ms,
        "retry": job.retry,
        "on_runner_loss": job.on_runner_loss,
        "continue_on_error": job.continue_on_error,
        "fail_fast": job.fail_fast,
        "priority": job.priority,
        "concurrency": {"group": job.concurrency, "cancel_superseded": job.cancel_superseded}
        if job.concurrency
        else None,
        "cache": [
            {"key": cache.key, "restore_keys": list(cache.restore_keys), "paths": list(cache.paths)}
            for cache in job.cache
        ],
        "artifacts": [
            {
                "name": artifact.name,
                "paths": list(artifact.paths),
                "required": artifact.required,
                "retention_ms": artifact.retention_ms or None,
            }
            for artifact in job.artifacts
        ],
        "steps": [
            {
                "name": step.name,
                "run": step.run,
                "shell": step.shell or None,
                "timeout_ms": step.timeout_ms or None,
                "continue_on_error": step.continue_on_error,
                "env": dict(step.env),
            }
            for step in job.steps
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
