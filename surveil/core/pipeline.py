"""From declared jobs to job specs, within limits; or complaints with their places.

What belongs here: what a pipeline means. What does not: how it is written down (`surveil.pipeline` reads text
and makes declarations), its graph (`core.graph`), its matrices (`core.matrix`), what is filled into texts
(`core.filling`), and what happens to its jobs later (`core.dispatch`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

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
from surveil.core.references import JOB_BYTES_MAX
from surveil.core.services import services_of, texts_of
from surveil.core.spelling import quoted
from surveil.core.splitting import shards_of, split, with_room
from surveil.core.steps import cut, name_from
from surveil.core.taking import kept_by_job, taken_by, weight
from surveil.core.triggers import variable
from surveil.core.wanted_secrets import uses_of
from surveil.frozen import dataclass, replace
from surveil.protocol import JobSpec, SecretUse, StepSpec, TakenArtifact

JOBS_MAX: Final = 256
"""Jobs of one pipeline after its matrices are expanded; also the most that one job can need."""
STEPS_MAX: Final = 100
NAME_BYTES_MAX: Final = 120
"""UTF-8 bytes of a job's full name; it becomes part of file names, which hold 255."""
ENV_MAX: Final = 500
"""Variables that one job or step can set."""
EXPANDED_BYTES_MAX: Final = 8 * 1024 * 1024
"""UTF-8 bytes of all jobs together: 256 cells of a large script would otherwise fill memory."""
GROUP_CHARACTERS_MAX: Final = 200
"""Of a concurrency group's name, before what is known later is filled in."""
GLOBS_MAX: Final = 100
"""Lists of patterns that all conditions of a pipeline may ask for; each is matched with every path that changed."""


_PartT = TypeVar("_PartT")


@dataclass(frozen=True, slots=True)
class Expansion:
    """What came of the declarations: the jobs, or complaints, never both; in the order of the file."""

    jobs: tuple[JobSpec, ...]
    complaints: tuple[Complaint, ...]


def expand(
    env: Mapping[str, Text],
    jobs: Sequence[JobDeclaration],
    inputs: Mapping[str, str] = MappingProxyType({}),
    shards: Mapping[str, int] = MappingProxyType({}),
) -> Expansion:
    """Expand every job's matrix and connect the jobs. `env` is the whole pipeline's, under each job's own, and the
    values of `inputs` are variables beside it. `shards` says for jobs with `shards: auto` how many there are to be; one
    where it does not.
    """
    jobs = [split(job, shards.get(job.name.value, 1)) for job in jobs]
    env = {**env, **{variable(name): Text(value, START) for name, value in inputs.items()}}
    cells, complaints = _find_all_cells(jobs)
    if complaints:
        return _refuse(complaints)
    complaints = [*check_needs(jobs, cells), *find_cycles(jobs, cells)]
    specs: list[JobSpec] = []
    pipeline_bytes, kept = 0, kept_by_job(jobs)
    for job in jobs:
        known, needs = _known(job, env, cells), resolve_needs(job, cells)
        takes, wrong = taken_by(job, kept, known.needs)
        complaints += [*_check_conditions(job, known), *wrong]
        filler = Filler(job.name.value, known, inputs)
        made = _Cells(job, env, filler, takes)
        for name, values in cells[job.name.value].items():
            spec = made.spec(name, values, needs)
            complaints += filler.complaints
            if filler.complaints:
                break  # The other cells would say the same again.
            specs.append(spec)
            pipeline_bytes += (job_bytes := made.weight)
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
        count = with_room(job, count)
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


def _check_conditions(job: JobDeclaration, known: Known) -> Iterator[Complaint]:
    """What is wrong with the conditions of a job and its steps, which are the same for all cells."""
    where = f"jobs.{quoted(job.name.value)[1:-1]}"
    yield from _check_condition(job.when, known, f"{where}.when")
    for index, step in enumerate(job.steps):
        if step.when is not None:
            knows = Known(matrix=known.matrix, env={*known.env, *step.env}, needs=known.needs)
            yield from _check_condition(step.when, knows, f"{where}.steps[{index}].when")


def _check_condition(when: Text | None, known: Known, where: str) -> Iterator[Complaint]:
    if when is None or when.value in WORDS:
        return
    try:
        errors = check(parse(when.value), known)
    except ExpressionError as unreadable:
        errors = [unreadable]
    for error in errors:
        yield Complaint(f"`{where}`: {error}", when.place_of(error.at), error.hint)


def _check_globs(jobs: Sequence[JobDeclaration]) -> Iterator[Complaint]:
    seen: set[tuple[str, ...]] = set()
    for when in (when for job in jobs for when in (job.when, *(step.when for step in job.steps))):
        if when is None:
            continue
        with contextlib.suppress(ExpressionError):  # That was complained about already.
            seen.update(path_patterns(parse(when.value)))
        if len(seen) > GLOBS_MAX:
            message = f"the conditions of all jobs ask for more than {GLOBS_MAX} different lists of changed paths"
            yield Complaint(message, when.place, "use `**`, or ask for the same lists")
            return


def _known(job: JobDeclaration, env: Mapping[str, Text], cells: CellsByJob) -> Known:
    """What this job's texts and its condition may name."""
    axes = {axis for values in cells[job.name.value].values() for axis in values}
    return Known(
        matrix=axes,
        env={*env, *job.env, *(f"MATRIX_{axis.upper()}" for axis in axes)},
        needs=cells_of_needs(job, cells),
    )


class _Cells:
    """The cells of one job while its texts are filled in: each is the one before it, with what the matrix changes."""

    def __init__(
        self, job: JobDeclaration, env: Mapping[str, Text], filler: Filler, takes: tuple[TakenArtifact, ...]
    ) -> None:
        self._job = job
        self._takes = takes
        self._pipeline_env = env
        self._filler = filler
        self._secrets = self._uses()
        self._spec: JobSpec | None = None
        self._weights: dict[str, int] = {}
        self._steps_alike: dict[int, StepSpec] = {}
        self._changing: dict[str, Callable[[], object]] = {
            "env": self._env,
            "labels": self._labels,
            "concurrency": self._group,
            "reports": self._reports,
            "artifacts": lambda: artifacts_of(job, filler),
            "image": lambda: job.image and filled(job.image, filler),
            "services": lambda: services_of(job, filler, self._secrets),
            "cache": lambda: caches_of(job, filler),
            "steps": self._steps,
        }
        """How those parts are made that are not known to be the same in all cells."""

    def spec(self, name: str, values: Mapping[str, str], needs: tuple[str, ...]) -> JobSpec:
        """Fill in everything for the cell with this name and these values."""
        self._filler.begin(values)
        if len(name.encode()) > NAME_BYTES_MAX:
            message = f"the job's full name {quoted(name)} is longer than {NAME_BYTES_MAX} bytes"
            self._filler.complain(message, self._job.name.place, "use a shorter name or shorter matrix values")
        made: dict[str, Any] = {"name": name, "matrix": dict(values)}
        for part, make in list(self._changing.items()):
            made[part], alike = self._made(make)
            if alike:
                del self._changing[part]
        first = self._spec is None
        self._spec = self._first(made, needs) if self._spec is None else replace(self._spec, **made)
        for part in _WEIGHTY if first else _WEIGHTY.keys() & made:
            self._weights[part] = _WEIGHTY[part](self._spec)
        return self._spec

    @property
    def weight(self) -> int:
        """UTF-8 bytes of everything in the last cell that its author chose."""
        return sum(self._weights.values())

    def _first(self, made: dict[str, Any], needs: tuple[str, ...]) -> JobSpec:
        job = self._job
        return JobSpec(
            **made,
            needs=needs,
            when=job.when.value if job.when is not None else "passed",
            timeout_ms=job.timeout_ms,
            retry=job.retry,
            on_runner_loss=job.on_runner_loss,
            continue_on_error=job.continue_on_error,
            fail_fast=job.fail_fast,
            priority=job.priority,
            cancel_superseded=job.cancel_superseded,
            shards=shards_of(job),
            secrets=self._secrets,
            artifacts_from=self._takes,
        )

    def _made(self, make: Callable[[], _PartT]) -> tuple[_PartT, bool]:
        """A part of the job, and whether it is the same in all cells because it asks for no value of the matrix."""
        before = self._filler.asked
        return make(), self._filler.asked == before

    def _env(self) -> dict[str, str]:
        """Later wins: the pipeline's, the cell's `MATRIX_*`, the job's."""
        variables = {f"MATRIX_{axis.upper()}": self._filler.value_of(axis) for axis in self._filler.values}
        env = self._fill_env(self._pipeline_env) | variables | self._fill_env(self._job.env)
        envs = [env, *(step.env for step in self._job.steps), *(service.env for service in self._job.services)]
        if max(map(len, envs)) > ENV_MAX:
            job = self._job.name
            self._filler.complain(f"job {quoted(job.value)} sets more than {ENV_MAX} variables", job.place)
        return env

    def _uses(self) -> tuple[SecretUse, ...]:
        """The secrets, none of which may be in a variable that is set otherwise, in whichever cell."""
        variables = {*self._filler.known.env, *(name for step in self._job.steps for name in step.env)}
        registry = self._job.image.credentials if self._job.image is not None else None
        return uses_of(self._job.secrets, variables, self._filler.complain, registry)

    def _group(self) -> str:
        if self._job.concurrency is None:
            return ""
        group = self._filler.fill(self._job.concurrency, Later.COMMIT)
        if len(group) > GROUP_CHARACTERS_MAX:
            message = f"the name of a concurrency group has at most {GROUP_CHARACTERS_MAX} characters"
            self._filler.complain(message, self._job.concurrency.place)
        return group

    def _reports(self) -> tuple[str, ...]:
        if self._job.reports is None:
            return REPORTS_USUAL
        filled = tuple(self._filler.fill(pattern) for pattern in self._job.reports)
        for text, pattern in zip(filled, self._job.reports, strict=True):
            try:
                globs.read_globs((text,))
            except ValueError as error:
                self._filler.complain(f"`reports`: {error}", pattern.place)
        if len(filled) > globs.GLOBS_MAX:
            message = f"`reports` has {len(filled)} patterns, more than the {globs.GLOBS_MAX} allowed"
            self._filler.complain(message, self._job.reports[0].place, "use `**`")
        return filled

    def _steps(self) -> tuple[StepSpec, ...]:
        found: list[StepSpec] = []
        for position, step in enumerate(self._job.steps):
            if position not in self._steps_alike:
                spec, alike = self._made(partial(self._step, step))
                if alike:
                    self._steps_alike[position] = spec
            else:
                spec = self._steps_alike[position]
            found.append(spec)
        return tuple(found)

    def _step(self, step: StepDeclaration) -> StepSpec:
        run = self._filler.fill(step.run, Later.NEEDS)
        return StepSpec(
            name=name_from(run) if step.name is None else cut(self._filler.fill(step.name)),
            run=run,
            shell=step.shell,
            timeout_ms=step.timeout_ms,
            continue_on_error=step.continue_on_error,
            env=self._fill_env(step.env),
            when=step.when.value if step.when is not None else "passed",
        )

    def _labels(self) -> tuple[str, ...]:
        needed = [] if self._job.image is None else [CONTAINERS]
        return tuple(dict.fromkeys([*(self._label(label) for label in self._job.labels), *needed]))

    def _label(self, label: Text) -> str:
        filled = self._filler.fill(label)
        if LABEL.fullmatch(filled) is None:
            hint = "labels are letters, digits and `_.:/=+-`, at most 64"
            self._filler.complain(f"{quoted(filled)} is not a label", label.place, hint)
        return filled

    def _fill_env(self, env: Mapping[str, Text]) -> dict[str, str]:
        return {name: self._filler.fill(value, Later.NEEDS) for name, value in env.items()}


def _size(texts: Iterable[str]) -> int:
    return len("".join(texts).encode())


def _size_of_env(env: Mapping[str, str]) -> int:
    return _size([*env, *env.values()])


def _size_of_steps(spec: JobSpec) -> int:
    texts: list[str] = []
    for step in spec.steps:
        texts += (step.name, step.run, step.shell, step.when, *step.env, *step.env.values())
    return _size(texts)


_WEIGHTY: Final[Mapping[str, Callable[[JobSpec], int]]] = {
    "name": lambda spec: _size((spec.name,)),
    "matrix": lambda spec: _size_of_env(spec.matrix),
    "env": lambda spec: _size_of_env(spec.env),
    "steps": _size_of_steps,
    "labels": lambda spec: _size(spec.labels),
    "image": lambda spec: _size((spec.image.name,)) if spec.image else 0,
    "services": lambda spec: _size(text for service in spec.services for text in texts_of(service)),
    "artifacts": lambda spec: _size(text for one in spec.artifacts for text in (one.name, *one.paths)),
    "cache": lambda spec: _size(text for one in spec.cache for text in (one.key, *one.restore_keys, *one.paths)),
    "needs": lambda spec: _size(spec.needs) + weight(spec.artifacts_from),
}
"""What of a job may be large, by the part that holds it: of a cell only what differs from the one before is weighed."""
