"""From declared jobs to job specs: matrix cells, filled-in values, limits; or complaints with their places.

What belongs here: what a pipeline means. What does not: how it is written down (`surveil.pipeline` reads text
and makes declarations), its graph (`core.graph`), and what happens to its jobs later (`core.dispatch`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from surveil.core.declared import (
    COMPLAINTS_MAX,
    LABEL,
    START,
    Complaint,
    JobDeclaration,
    Place,
    StepDeclaration,
    Text,
)
from surveil.core.graph import check_needs, find_cycles, resolve_needs
from surveil.core.spelling import did_you_mean, quoted
from surveil.protocol import JobSpec, StepSpec

JOBS_MAX: Final = 256
"""Jobs of one pipeline after its matrices are expanded; also the most that one job can need."""
STEPS_MAX: Final = 100
NAME_BYTES_MAX: Final = 120
"""UTF-8 bytes of a job's full name; it becomes part of file names, which hold 255."""
TEXT_BYTES_MAX: Final = 256 * 1024
"""UTF-8 bytes of one script or value after substitution."""
JOB_BYTES_MAX: Final = 768 * 1024
"""UTF-8 bytes of one job; it travels in one message of at most 1 MiB."""
ENV_MAX: Final = 500
"""Variables that one job or step can set."""
EXPANDED_BYTES_MAX: Final = 8 * 1024 * 1024
"""UTF-8 bytes of all jobs together: 256 cells of a large script would otherwise fill memory."""
STEP_NAME_CHARACTERS_MAX: Final = 80

_EXPRESSION: Final = re.compile(r"\$\{\{([^{}]*)\}\}")
_MATRIX_NAME: Final = re.compile(r"matrix\.([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Expansion:
    """What came of the declarations: the jobs, or complaints, never both; in the order of the file."""

    jobs: tuple[JobSpec, ...]
    complaints: tuple[Complaint, ...]


def expand(env: Mapping[str, Text], jobs: Sequence[JobDeclaration]) -> Expansion:
    """Expand every job's matrix and connect the jobs. `env` is the whole pipeline's, under each job's own."""
    complaints = [*_check_size(jobs), *_check_matrices(jobs)]
    if complaints:
        return _refuse(complaints)
    cells = {job.name.value: _cells(job) for job in jobs}
    complaints = [*check_needs(jobs, cells), *find_cycles(jobs, cells)]
    specs: list[JobSpec] = []
    pipeline_bytes = 0
    for job in jobs:
        for name, values in cells[job.name.value].items():
            cell = _Cell(job, name, values)
            spec = cell.spec(env, resolve_needs(job, cells))
            complaints += cell.complaints
            if cell.complaints:
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
    return _refuse(complaints) if complaints else Expansion(tuple(specs), ())


def _refuse(complaints: Sequence[Complaint]) -> Expansion:
    in_file_order = sorted(
        complaints, key=lambda complaint: (complaint.place.line, complaint.place.column, complaint.message)
    )
    return Expansion((), tuple(in_file_order[:COMPLAINTS_MAX]))


def _check_size(jobs: Sequence[JobDeclaration]) -> Iterator[Complaint]:
    if not jobs:
        yield Complaint("the pipeline has no jobs", START, "add a job with at least one step under `jobs`")
    total = 0
    for job in jobs:
        count = 1
        for values in job.matrix.values():
            count *= len(values)
        total += count
        if total - count <= JOBS_MAX < total:
            more = f"with the {count} cells of its matrix " if count > 1 else ""
            yield Complaint(
                f"a pipeline has at most {JOBS_MAX} jobs; {more}{quoted(job.name.value)} makes it {total}",
                job.name.place,
                "shorten a matrix, or put several commands into one job",
            )
        if not job.steps:
            yield Complaint(
                f"job {quoted(job.name.value)} has no steps",
                job.name.place,
                "add `steps` with at least one `run`",
            )
        if len(job.steps) > STEPS_MAX:
            yield Complaint(
                f"job {quoted(job.name.value)} has {len(job.steps)} steps; at most {STEPS_MAX} are allowed",
                job.steps[STEPS_MAX].run.place,
            )


def _check_matrices(jobs: Sequence[JobDeclaration]) -> Iterator[Complaint]:
    for job in jobs:
        variables: dict[str, str] = {}
        for axis, values in job.matrix.items():
            if not values:
                yield Complaint(
                    f"matrix {quoted(axis)} has no values", job.name.place, "list at least one, or remove it"
                )
            elif (other := variables.setdefault(axis.upper(), axis)) != axis:
                message = f"matrix {quoted(axis)} and {quoted(other)} would both be MATRIX_{axis.upper()}"
                yield Complaint(message, values[0].place, "rename one of them")
            seen: set[str] = set()
            for value in values:
                if value.value in seen:
                    yield Complaint(f"matrix {quoted(axis)} lists {quoted(value.value)} twice", value.place)
                seen.add(value.value)
                if not value.value or not value.value.isprintable() or set(value.value) & set("[],/"):
                    message = f"matrix value {quoted(value.value)} cannot be part of a job's name"
                    yield Complaint(message, value.place, "use printable text without `[`, `]`, `,` and `/`")


def _cells(job: JobDeclaration) -> dict[str, dict[str, str]]:
    """Name every combination of a job's matrix: axes sorted by name, values in the order of the file."""
    if not job.matrix:
        return {job.name.value: {}}
    axes = sorted(job.matrix)
    combinations = product(*([value.value for value in job.matrix[axis]] for axis in axes))
    cells: dict[str, dict[str, str]] = {}
    for combination in combinations:
        values = dict(zip(axes, combination, strict=True))
        label = ",".join(f"{axis}={value}" for axis, value in values.items())
        cells[f"{job.name.value}[{label}]"] = values
    return cells


@dataclass(slots=True)
class _Cell:
    """One combination of a job's matrix while its texts are filled in."""

    job: JobDeclaration
    name: str
    values: Mapping[str, str]
    complaints: list[Complaint] = field(default_factory=list)

    def spec(self, pipeline_env: Mapping[str, Text], needs: tuple[str, ...]) -> JobSpec:
        """Fill in everything. In `env` later wins: the pipeline's, the cell's `MATRIX_*`, the job's."""
        job = self.job
        if len(self.name.encode()) > NAME_BYTES_MAX:
            message = f"the job's full name {quoted(self.name)} is longer than {NAME_BYTES_MAX} bytes"
            self._complain(message, job.name.place, "use a shorter name or shorter matrix values")
        variables = {f"MATRIX_{axis.upper()}": value for axis, value in self.values.items()}
        env = self._fill_env(pipeline_env) | variables | self._fill_env(job.env)
        if max(len(env), *(len(step.env) for step in job.steps)) > ENV_MAX:
            self._complain(f"job {quoted(job.name.value)} sets more than {ENV_MAX} variables", job.name.place)
        return JobSpec(
            name=self.name,
            needs=needs,
            when=job.when,
            labels=tuple(dict.fromkeys(self._label(label) for label in job.labels)),
            env=env,
            timeout_ms=job.timeout_ms,
            retry=job.retry,
            on_runner_loss=job.on_runner_loss,
            steps=tuple(self._step(step) for step in job.steps),
            matrix=dict(self.values),
        )

    def _step(self, step: StepDeclaration) -> StepSpec:
        run = self._fill(step.run)
        named = self._fill(step.name) if step.name is not None else _name_from(run)
        return StepSpec(
            name=_cut(named),
            run=run,
            shell=step.shell,
            timeout_ms=step.timeout_ms,
            continue_on_error=step.continue_on_error,
            env=self._fill_env(step.env),
        )

    def _label(self, label: Text) -> str:
        filled = self._fill(label)
        if LABEL.fullmatch(filled) is None:
            hint = "labels are letters, digits and `_.:/=+-`, at most 64"
            self._complain(f"{quoted(filled)} is not a label", label.place, hint)
        return filled

    def _fill_env(self, env: Mapping[str, Text]) -> dict[str, str]:
        return {name: self._fill(value) for name, value in env.items()}

    def _fill(self, text: Text) -> str:
        if "${{" not in text.value:
            return text.value
        filled = _EXPRESSION.sub(lambda match: self._value_of(match, text.place), text.value)
        if len(filled.encode()) > TEXT_BYTES_MAX:
            self._complain(
                f"this text is larger than {TEXT_BYTES_MAX // 1024} KiB once its matrix values are filled in",
                text.place,
            )
        return filled

    def _value_of(self, match: re.Match[str], place: Place) -> str:
        named = _MATRIX_NAME.fullmatch(match[1].strip())
        if named is None:
            message = f"{quoted(match[0])} means nothing here: only `${{{{ matrix.NAME }}}}` is filled in"
            self._complain(message, place, "read other values from the environment, for example `$SURVEIL_SHA`")
        elif named[1] not in self.values:
            message = f"job {quoted(self.job.name.value)} has no matrix value {quoted(named[1])}"
            self._complain(message, place, did_you_mean(named[1], self.values) or "add it under `matrix`")
        else:
            return self.values[named[1]]
        return match[0]

    def _complain(self, message: str, place: Place, hint: str = "") -> None:
        complaint = Complaint(message, place, hint)
        if complaint not in self.complaints and len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(complaint)


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
        *(part for step in spec.steps for part in (step.name, step.run, step.shell)),
    ]
    return sum(len(text.encode()) for text in texts) + sum(
        len(a.encode()) + len(b.encode()) for env in envs for a, b in env.items()
    )
