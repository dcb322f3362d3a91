"""A loaded pipeline shown to people and scripts: its expanded graph.

What belongs here: words and JSON about a pipeline that is valid. What does not: complaints (`Invalid.render`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, TypeAlias

from surveil.core.conditions import WORDS
from surveil.core.declared import REPORTS_USUAL, ShardsDeclaration
from surveil.core.graph import in_order
from surveil.core.spelling import format_duration, format_size, printable, quoted
from surveil.core.taking import entries_of
from surveil.core.triggers import ANY, describe
from surveil.pipeline import Pipeline
from surveil.pipeline.servicing import SCRIPT
from surveil.protocol import SHARD, ImageSpec, JobSpec, ServiceSpec, StepSpec

_Undecided: TypeAlias = Mapping[str, ShardsDeclaration]
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
            lines += _explain_job(by_name[name], pipeline.undecided)
    return "\n".join(lines)


def as_json(pipeline: Pipeline) -> dict[str, Any]:
    """The graph for `--json`: `file`, and `jobs` in its order; durations in ms, `null` for none of its own."""
    return {"file": pipeline.filename, "jobs": [_job_json(job, pipeline.undecided) for job in pipeline.jobs]}


def _explain_job(job: JobSpec, undecided: _Undecided) -> list[str]:
    lines = [f"   {printable(job.name)}"]
    if job.needs:
        lines.append(f"     needs     {', '.join(job.needs)}{_ENDED.get(job.when, '')}")
    if job.when not in WORDS:
        lines.append(f"     when      {printable(job.when)}")
    if job.labels:
        lines.append(f"     on        runners with {', '.join(job.labels)}")
    if job.image is not None:
        lines.append(f"     in        a container of {_explain_image(job.image)}")
    lines += [f"     beside it {_explain_service(service)}" for service in job.services]
    if job.env:
        lines.append(f"     env       {', '.join(sorted(job.env))}")
    if job.secrets:
        lines.append(f"     secrets   {', '.join(use.name for use in job.secrets)}")
    if job.shards:
        lines.append(f"     shard     {_explain_shards(job, undecided.get(job.declared_name))}")
    if job.concurrency:
        superseding = ", where a newer job cancels older ones" if job.cancel_superseded else ""
        lines.append(f"     alone in  the group {quoted(job.concurrency)}{superseding}")
    if notes := _notes(job):
        lines.append(f"     besides   {', '.join(notes)}")
    again = f", {job.retry} more after a failure" if job.retry else ""
    lines.append(
        f"     attempts  at most {format_duration(job.timeout_ms)} each{again}; a lost runner: {job.on_runner_loss}"
    )
    if job.reports != REPORTS_USUAL:
        lines.append(f"     reports   {', '.join(map(printable, job.reports)) or 'none are read'}")
    lines += [
        f"     caches    {', '.join(map(printable, cache.paths))} ({printable(cache.key)})" for cache in job.cache
    ]
    if job.artifacts_from:
        lines.append(f"     takes     {', '.join(map(printable, entries_of(job.artifacts_from)))}")
    for artifact in job.artifacts:
        notes = [*(["required"] if artifact.required else []), *_kept_for(artifact.retention_ms)]
        note = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"     keeps     {printable(artifact.name)}: {', '.join(map(printable, artifact.paths))}{note}")
    for number, step in enumerate(job.steps, start=1):
        lines.append(f"     {number:>2}. {_explain_step(step)}")
        lines += [f"         | {printable(line)}" for line in _commands(step)]
    return lines


def _explain_shards(job: JobSpec, open_: ShardsDeclaration | None) -> str:
    """Of which suite it is a part, and how many parts there are."""
    if open_ is None:
        return f"{job.matrix[SHARD]} of {job.shards}, which share the tests of {quoted(job.suite)}"
    return (
        f"as many as bring the tests of {quoted(job.suite)} below {format_duration(open_.target_ms)}, at most "
        f"{open_.most}; one until a build told how long they take"
    )


def _shards_json(job: JobSpec, open_: ShardsDeclaration | None) -> dict[str, Any] | None:
    if not job.shards:
        return None
    if open_ is None:
        return {"count": job.shards, "target_ms": None, "most": None}
    return {"count": None, "target_ms": open_.target_ms, "most": open_.most}


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
    if image.root:
        notes.append("as root")
    if image.cpu_thousandths:
        notes.append(f"{image.cpu_thousandths / 1000:g} processors")
    if image.memory_bytes:
        notes.append(f"{format_size(image.memory_bytes)} of memory")
    if image.processes:
        notes.append(f"{image.processes} processes")
    if image.disk_bytes:
        notes.append(f"{format_size(image.disk_bytes)} of disk")
    return image.name + (f" ({', '.join(notes)})" if notes else "")


def _explain_service(service: ServiceSpec) -> str:
    notes = [f"ready within {format_duration(service.ready_ms)}"]
    if service.health or service.port:
        notes.append(f"when port {service.port} is open" if service.port else f"when {_line(service.health)} passes")
    if service.command:
        notes.append(f"runs {_line(service.command)}")
    if service.env or service.secrets:
        notes.append(f"env {', '.join(sorted({*service.env, *service.secrets}))}")
    return f"{service.name}: {_explain_image(service.image)}; {', '.join(notes)}"


def _line(words: tuple[str, ...]) -> str:
    """A command as one would type it, on one line."""
    typed = words[2] if words[:2] == SCRIPT and len(words) == len(SCRIPT) + 1 else shlex.join(words)
    return f"`{printable(' '.join(typed.split()))}`"


def _service_json(service: ServiceSpec) -> dict[str, Any]:
    return {
        "name": service.name,
        "image": _image_json(service.image),
        "command": list(service.command) or None,
        "env": dict(service.env),
        "secrets": list(service.secrets),
        "health": {
            "command": list(service.health) or None,
            "port": service.port or None,
            "interval_ms": service.interval_ms,
            "timeout_ms": service.ready_ms,
        },
    }


def _image_json(image: ImageSpec) -> dict[str, Any]:
    return {
        "name": image.name,
        "pull": image.pull,
        "cpus": image.cpu_thousandths / 1000 or None,
        "memory_bytes": image.memory_bytes or None,
        "pids": image.processes or None,
        "disk_bytes": image.disk_bytes or None,
        "user": "root" if image.root else "runner",
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
    if step.when != "passed":
        notes.append(f"when {printable(step.when)}")
    return f"{printable(step.name)}  ({', '.join(notes)})"


def _job_json(job: JobSpec, undecided: _Undecided) -> dict[str, Any]:
    return {
        "name": job.name,
        "needs": list(job.needs),
        "when": job.when,
        "labels": list(job.labels),
        "image": None if job.image is None else _image_json(job.image),
        "services": [_service_json(service) for service in job.services],
        "matrix": dict(job.matrix),
        "shards": _shards_json(job, undecided.get(job.declared_name)),
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
        "reports": list(job.reports),
        "cache": [
            {"key": cache.key, "restore_keys": list(cache.restore_keys), "paths": list(cache.paths)}
            for cache in job.cache
        ],
        "artifacts_from": entries_of(job.artifacts_from),
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
                "when": step.when,
                "env": dict(step.env),
            }
            for step in job.steps
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
