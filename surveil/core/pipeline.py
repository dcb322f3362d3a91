"""From declared jobs to job specs, within limits; or complaints with their places.

What belongs here: what a pipeline means. What does not: how it is written down (`surveil.pipeline` reads text
and makes declarations), its graph (`core.graph`), its matrices (`core.matrix`), what is filled into texts
(`core.filling`), and what happens to its jobs later (`core.dispatch`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from surveil.core import globs
from surveil.core.conditions import WORDS, Known, check, path_patterns
from surveil.core.declared import (
    COMPLAINTS_MAX,
    CONTAINERS,
    LABEL,
    REPORTS_USUAL,
    START,
    Complaint,
    JobDeclaration,
    StepDeclaration,
    Text,
    in_order_of_the_file,
)
from surveil.core.expressions import ExpressionError, parse
from surveil.core.filling import Filler, Later
from surveil.core.graph import CellsByJob, cells_of_needs, check_needs, find_cycles, resolve_needs
from surveil.core.images import filled
from surveil.core.keeping import artifacts_of, caches_of
from surveil.core.matrix import COMBINATIONS_MAX, Cells, combinations_of, find_cells
from surveil.core.spelling import quoted
from surveil.core.triggers import variable
from surveil.core.wanted_secrets import uses_of
from surveil.protocol import JobSpec, SecretUse, StepSpec

JOBS_MAX: Final = 256
"""Jobs of one pipeline after its matrices are expanded; also the most that one job can need."""
STEPS_MAX: Final = 100
NAME_BYTES_MAX: Final = 120
"""UTF-8 bytes of a job's full name; it becomes part of file names, which hold 255."""
JOB_BYTES_MAX: Final = 768 * 1024
"""UTF-8 bytes of one job; it travels in one message of at most 1 MiB."""
ENV_MAX: Final = 500
"""Variables that one job or step can set."""
EXPANDED_BYTES_MAX: Final = 8 * 1024 * 1024
"""UTF-8 bytes of all jobs together: 256 cells of a large script would otherwise fill memory."""
STEP_NAME_CHARACTERS_MAX: Final = 80
GROUP_CHARACTERS_MAX: Final = 200
"""Of a concurrency group's name, before what is known later is filled in."""
GLOBS_MAX: Final = 100
"""Lists of patterns that all conditions of a pipeline may ask for; each is matched with every path that changed."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What came of the declarations: the jobs, or complaints, never both; in the order of the file."""

    jobs: tuple[JobSpec, ...]
    complaints: tuple[Complaint, ...]


def expand(
    env: Mapping[str, Text], jobs: Sequence[JobDeclaration], inputs: Mapping[str, str] = MappingProxyType({})
) -> Expansion:
    """Expand every job's matrix and connect the jobs. `env` is the whole pipeline's, under each job's own, and the
    values of `inputs` are variables beside it.
    """
    env = {**env, **{variable(name): Text(value, START) for name, value in inputs.items()}}
    cells, complaints = _find_all_cells(jobs)
    if complaints:
        return _refuse(complaints)
    complaints = [*check_needs(jobs, cells), *find_cycles(jobs, cells)]
    specs: list[JobSpec] = []
    pipeline_bytes = 0
    for job in jobs:
        known, needs = _known(job, env, cells), resolve_needs(job, cells)
        complaints += _check_condition(job, known)
        shared: dict[int, StepSpec] = {}
        for name, values in cells[job.name.value].items():
            cell = _Cell(job, name, Filler(job.name.value, values, known, inputs), shared)
            spec = cell.spec(env, needs)
            complaints += cell.filler.complaints
            if cell.filler.complaints:
                break  # The other cells would say the same again.
            specs.append(spec)
            pipeline_bytes += (job_bytes := _weigh(spec))
            if job_bytes > JOB_BYTES_MAX:
                complaints.append(
                    Complaint(f"job {quoted(name)} is larger than {JOB_BYTES_MAX // 1024} KiB", job.name.place)
                )
                break
            if pipeline_bytes > EXPANDED_BYTES_MAX:
                mib = EXPANDED_BYTES_MAX // 1024 // 1024
                complaints.append(
                    Complaint(f"all jobs together are larger than {mib} MiB once expanded", job.name.place)
                )
                return _refuse(complaints)
    complaints += _check_globs(jobs)
    return _refuse(complaints) if complaints else Expansion(tuple(specs), ())


def _refuse(complaints: Sequence[Complaint]) -> Expansion:
    return Expansion((), tuple(in_order_of_the_file(complaints)[:COMPLAINTS_MAX]))


def _find_all_cells(jobs: Sequence[JobDeclaration]) -> tuple[CellsByJob, list[Complaint]]:
    complaints: list[Complaint] = []
    if not jobs:
        hint = "add a job with at least one step under `jobs`"
        complaints.append(Complaint("the pipeline has no jobs", START, hint))
    cells: dict[str, Cells] = {}
    total = 0
    for job in jobs:
        complaints += _check_steps(job)
        count = combinations_of(job)
        if count <= COMBINATIONS_MAX:
            cells[job.name.value], wrong = find_cells(job)
            complaints += wrong
            count = len(cells[job.name.value]) or count
        total += count
        if total - count <= JOBS_MAX < total:
            more = f"with the {count} cells of its matrix " if count > 1 else ""
            message = f"a pipeline has at most {JOBS_MAX} jobs; {more}{quoted(job.name.value)} makes it {total}"
            hint = "shorten a matrix, or put several commands into one job"
            complaints.append(Complaint(message, job.name.place, hint))
    return cells, complaints


def _check_steps(job: JobDeclaration) -> Iterator[Complaint]:
    if not job.steps:
        message = f"job {quoted(job.name.value)} has no steps"
        yield Complaint(message, job.name.place, "add `steps` with at least one `run`")
    if len(job.steps) > STEPS_MAX:
        message = f"job {quoted(job.name.value)} has {len(job.steps)} steps; at most {STEPS_MAX} are allowed"
        yield Complaint(message, job.steps[STEPS_MAX].run.place)


def _check_condition(job: JobDeclaration, known: Known) -> Iterator[Complaint]:
    """What is wrong with a condition, which is the same for all cells."""
    if job.when is None or job.when.value in WORDS:
        return
    try:
        errors = check(parse(job.when.value), known)
    except ExpressionError as unreadable:
        errors = [unreadable]
    where = f"jobs.{quoted(job.name.value)[1:-1]}.when"
    for error in errors:
        yield Complaint(f"`{where}`: {error}", job.when.place_of(error.at), error.hint)


def _check_globs(jobs: Sequence[JobDeclaration]) -> Iterator[Complaint]:
    seen: set[tuple[str, ...]] = set()
    for job in jobs:
        if job.when is None:
            continue
        with contextlib.suppress(ExpressionError):  # That was complained about already.
            seen.update(path_patterns(parse(job.when.value)))
        if len(seen) > GLOBS_MAX:
            message = f"the conditions of all jobs ask for more than {GLOBS_MAX} different lists of changed paths"
            yield Complaint(message, job.when.place, "use `**`, or ask for the same lists")
            return


def _known(job: JobDeclaration, env: Mapping[str, Text], cells: CellsByJob) -> Known:
    """What this job's texts and its condition may name."""
    axes = {axis for values in cells[job.name.value].values() for axis in values}
    return Known(
        matrix=axes,
        env={*env, *job.env, *(f"MATRIX_{axis.upper()}" for axis in axes)},
        needs=cells_of_needs(job, cells),
    )


@dataclass(slots=True)
class _Cell:
    """One combination of a job's matrix while its texts are filled in."""

    job: JobDeclaration
    name: str
    filler: Filler
    shared: dict[int, StepSpec]
    """Steps into which nothing is filled, by their position: they are the same in all cells."""

    def spec(self, pipeline_env: Mapping[str, Text], needs: tuple[str, ...]) -> JobSpec:
        """Fill in everything. In `env` later wins: the pipeline's, the cell's `MATRIX_*`, the job's."""
        job, values = self.job, self.filler.values
        if len(self.name.encode()) > NAME_BYTES_MAX:
            message = f"the job's full name {quoted(self.name)} is longer than {NAME_BYTES_MAX} bytes"
            self.filler.complain(message, job.name.place, "use a shorter name or shorter matrix values")
        variables = {f"MATRIX_{axis.upper()}": value for axis, value in values.items()}
        env = self._fill_env(pipeline_env) | variables | self._fill_env(job.env)
        if max(len(env), *(len(step.env) for step in job.steps)) > ENV_MAX:
            self.filler.complain(f"job {quoted(job.name.value)} sets more than {ENV_MAX} variables", job.name.place)
        return JobSpec(
            name=self.name,
            needs=needs,
            when=job.when.value if job.when is not None else "passed",
            labels=self._labels(),
            env=env,
            timeout_ms=job.timeout_ms,
            retry=job.retry,
            on_runner_loss=job.on_runner_loss,
            steps=tuple(self._step(position, step) for position, step in enumerate(job.steps)),
            matrix=dict(values),
            continue_on_error=job.continue_on_error,
            fail_fast=job.fail_fast,
            priority=job.priority,
            concurrency=self._group(),
            cancel_superseded=job.cancel_superseded,
            reports=self._reports(),
            shards=job.shards,
            artifacts=artifacts_of(job, self.filler),
            secrets=self._secrets(env),
            image=None if job.image is None else filled(job.image, self.filler),
            cache=caches_of(job, self.filler),
        )

    def _secrets(self, env: Mapping[str, str]) -> tuple[SecretUse, ...]:
        variables = env.keys() | {name for step in self.job.steps for name in step.env}
        return uses_of(self.job.secrets, variables, self.filler.complain)

    def _group(self) -> str:
        if self.job.concurrency is None:
            return ""
        group = self.filler.fill(self.job.concurrency, Later.COMMIT)
        if len(group) > GROUP_CHARACTERS_MAX:
            message = f"the name of a concurrency group has at most {GROUP_CHARACTERS_MAX} characters"
            self.filler.complain(message, self.job.concurrency.place)
        return group

    def _reports(self) -> tuple[str, ...]:
        if self.job.reports is None:
            return REPORTS_USUAL
        filled = tuple(self.filler.fill(pattern) for pattern in self.job.reports)
        for text, pattern in zip(filled, self.job.reports, strict=True):
            try:
                globs.read_globs((text,))
            except ValueError as error:
                self.filler.complain(f"`reports`: {error}", pattern.place)
        if len(filled) > globs.GLOBS_MAX:
            message = f"`reports` has {len(filled)} patterns, more than the {globs.GLOBS_MAX} allowed"
            self.filler.complain(message, self.job.reports[0].place, "use `**`")
        return filled

    def _step(self, position: int, step: StepDeclaration) -> StepSpec:
        if position in self.shared:
            return self.shared[position]
        run = self.filler.fill(step.run, Later.NEEDS)
        named = self.filler.fill(step.name) if step.name is not None else _name_from(run)
        spec = StepSpec(
            name=_cut(named),
            run=run,
            shell=step.shell,
            timeout_ms=step.timeout_ms,
            continue_on_error=step.continue_on_error,
            env=self._fill_env(step.env),
        )
        if not any("${{" in text.value for text in (step.run, step.name, *step.env.values()) if text is not None):
            self.shared[position] = spec
        return spec

    def _labels(self) -> tuple[str, ...]:
        needed = [] if self.job.image is None else [CONTAINERS]
        return tuple(dict.fromkeys([*(self._label(label) for label in self.job.labels), *needed]))

    def _label(self, label: Text) -> str:
        filled = self.filler.fill(label)
        if LABEL.fullmatch(filled) is None:
            hint = "labels are letters, digits and `_.:/=+-`, at most 64"
            self.filler.complain(f"{quoted(filled)} is not a label", label.place, hint)
        return filled

    def _fill_env(self, env: Mapping[str, Text]) -> dict[str, str]:
        return {name: self.filler.fill(value, Later.NEEDS) for name, value in env.items()}


def _name_from(script: str) -> str:
    """The first line that says something: neither empty nor a comment."""
    lines = [line.strip() for line in script.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), next(filter(None, lines), "script"))


def _cut(name: str) -> str:
    if len(name) <= STEP_NAME_CHARACTERS_MAX:
        return name
    return name[: STEP_NAME_CHARACTERS_MAX - 1] + "…"


def _weigh(spec: JobSpec) -> int:
    """UTF-8 bytes of everything in a job that its author chose."""
    envs = [spec.env, spec.matrix, *(step.env for step in spec.steps)]
    texts = [
        spec.name,
        *spec.needs,
        *spec.labels,
        spec.image.name if spec.image else "",
        *(part for step in spec.steps for part in (step.name, step.run, step.shell)),
        *(text for artifact in spec.artifacts for text in (artifact.name, *artifact.paths)),
        *(text for cache in spec.cache for text in (cache.key, *cache.restore_keys, *cache.paths)),
    ]
    return sum(len(text.encode()) for text in texts) + sum(
        len(a.encode()) + len(b.encode()) for env in envs for a, b in env.items()
    )
