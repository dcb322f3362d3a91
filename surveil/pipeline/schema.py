"""What `.surveil.yml` may say.

What belongs here: the models of the file's keys. What does not: YAML (`document`), other formats' keys (`dialects`),
those of images and services (`containing`) and of `on` (`triggering`), single values (`values`), and what the jobs mean
together (`core.pipeline`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from surveil.core.declared import (
    ArtifactDeclaration,
    CacheDeclaration,
    Complaint,
    JobDeclaration,
    Place,
    SecretDeclaration,
    ShardsDeclaration,
    StepDeclaration,
    Text,
)
from surveil.core.triggers import ANY, Triggers
from surveil.frozen import dataclass
from surveil.pipeline.checking import Strict, Tables, check, hint_for_missing, path_text, place_at
from surveil.pipeline.containing import HealthTable, ImageTable, ServiceImageTable, ServiceTable, by_image, by_name
from surveil.pipeline.document import Node, Scalar, Table
from surveil.pipeline.flattening import flatten_steps
from surveil.pipeline.servicing import ServiceName
from surveil.pipeline.triggering import ON_TABLES, OnValue
from surveil.pipeline.values import (
    SHARDS_MOST,
    SHARDS_TARGET_MS,
    TIMEOUT_MS_DEFAULT,
    ArtifactName,
    Axis,
    Duration,
    Env,
    Flag,
    Includes,
    JobName,
    OnRunnerLossValue,
    Priority,
    Retention,
    Retry,
    Script,
    ShardCount,
    Shell,
    ShortArtifacts,
    Texts,
    TextValue,
    Title,
    Variable,
    Version,
    WhenValue,
    axis_name,
    listed,
    shard_count,
)
from surveil.protocol import SHARD


def _named(value: object) -> object:
    """A name alone stands for the group of that name."""
    return {"group": value} if isinstance(value, Scalar) else value


class StepTable(Strict):
    """One entry of `jobs.NAME.steps`."""

    name: Title | None = None
    run: Script
    shell: Shell = ""
    timeout: Duration = 0
    continue_on_error: Flag = False
    when: WhenValue | None = None
    env: Env = Field(default_factory=dict)

    def declare(self) -> StepDeclaration:
        """The same as core.pipeline takes it."""
        return StepDeclaration(
            name=self.name,
            run=self.run,
            shell=self.shell,
            timeout_ms=self.timeout,
            continue_on_error=self.continue_on_error,
            when=self.when,
            env=self.env,
        )


class MatrixTable(BaseModel):
    """`jobs.NAME.matrix`: lists of values by name, and two keys about their combinations."""

    model_config = ConfigDict(extra="allow", frozen=True, arbitrary_types_allowed=True, defer_build=True)
    # How the library wants to be told what further keys hold.
    __pydantic_extra__: dict[str, Texts] = Field(init=False)  # type: ignore[mutable-override]

    include: list[dict[Axis, TextValue]] = Field(default_factory=list)
    exclude: list[dict[Axis, TextValue]] = Field(default_factory=list)

    @property
    def axes(self) -> Mapping[str, tuple[Text, ...]]:
        """The lists of values."""
        return self.__pydantic_extra__ or {}


class ConcurrencyTable(Strict):
    """`jobs.NAME.concurrency`."""

    group: TextValue
    cancel_superseded: Flag = False


class ArtifactTable(Strict):
    """One entry of `jobs.NAME.artifacts`."""

    name: ArtifactName
    paths: Texts
    required: Flag = False
    retention: Retention = 0

    def declare(self) -> ArtifactDeclaration:
        """The same as core.pipeline takes it."""
        return ArtifactDeclaration(
            name=self.name, paths=self.paths, required=self.required, retention_ms=self.retention
        )


class SecretTable(Strict):
    """One entry of `jobs.NAME.secrets`."""

    name: TextValue
    env: Variable | None = None
    file: Variable | None = None

    def declare(self) -> SecretDeclaration:
        """The same as core.pipeline takes it."""
        return SecretDeclaration(name=self.name, env=self.env, file=self.file)


class ShardsTable(Strict):
    """`jobs.NAME.shards`."""

    target: Duration = SHARDS_TARGET_MS
    most: ShardCount = SHARDS_MOST
    _count: int = PrivateAttr(default=0)

    @classmethod
    def exactly(cls, count: int) -> ShardsTable:
        """Of a job that says how many there are."""
        table = cls()
        table._count = count
        return table

    def declare(self) -> ShardsDeclaration:
        """The same as core.pipeline takes it."""
        return ShardsDeclaration(count=self._count, target_ms=self.target, most=self.most)


def _counted(value: object) -> object:
    """A number alone stands for so many, and `auto` for a table without keys."""
    if not isinstance(value, Scalar):
        return value
    if value.text == "auto":
        return {}
    return ShardsTable.exactly(shard_count(value, instead="neither `auto` nor"))


class CacheTable(Strict):
    """One entry of `jobs.NAME.cache`."""

    key: TextValue
    restore_keys: Texts = ()
    paths: Texts

    def declare(self) -> CacheDeclaration:
        """The same as core.pipeline takes it."""
        return CacheDeclaration(key=self.key, restore_keys=self.restore_keys, paths=self.paths)


class JobTable(Strict):
    """One entry of `jobs`."""

    image: Annotated[ImageTable, BeforeValidator(by_name)] | None = None
    services: dict[ServiceName, Annotated[ServiceTable, BeforeValidator(by_image)]] = Field(default_factory=dict)
    labels: Texts = ()
    needs: Texts = ()
    when: WhenValue | None = None
    matrix: MatrixTable = Field(default_factory=MatrixTable)
    shards: Annotated[ShardsTable, BeforeValidator(_counted)] | None = None
    fail_fast: Flag = False
    env: Env = Field(default_factory=dict)
    timeout: Duration = TIMEOUT_MS_DEFAULT
    retry: Retry = 0
    on_runner_loss: OnRunnerLossValue = "retry"
    continue_on_error: Flag = False
    priority: Priority = 0
    concurrency: Annotated[ConcurrencyTable, BeforeValidator(_named)] | None = None
    reports: Texts | None = None
    artifacts: Annotated[list[ArtifactTable], ShortArtifacts] = Field(default_factory=list)
    artifacts_from: Texts = ()
    secrets: Annotated[list[Annotated[SecretTable, BeforeValidator(by_name)]], BeforeValidator(listed)] = Field(
        default_factory=list
    )
    cache: list[CacheTable] = Field(default_factory=list)
    steps: list[StepTable]

    def declare(self, name: Text, service_places: Mapping[str, Place]) -> JobDeclaration:
        """The same as core.pipeline takes it."""
        return JobDeclaration(
            name=name,
            needs=self.needs,
            when=self.when,
            labels=self.labels,
            env=self.env,
            timeout_ms=self.timeout,
            retry=self.retry,
            on_runner_loss=self.on_runner_loss,
            reports=self.reports,
            steps=tuple(step.declare() for step in self.steps),
            matrix=self.matrix.axes,
            shards=self.shards.declare() if self.shards else None,
            include=tuple(self.matrix.include),
            exclude=tuple(self.matrix.exclude),
            continue_on_error=self.continue_on_error,
            fail_fast=self.fail_fast,
            priority=self.priority,
            concurrency=self.concurrency.group if self.concurrency else None,
            cancel_superseded=bool(self.concurrency and self.concurrency.cancel_superseded),
            artifacts=tuple(artifact.declare() for artifact in self.artifacts),
            artifacts_from=self.artifacts_from,
            secrets=tuple(secret.declare() for secret in self.secrets),
            image=self.image.declare() if self.image else None,
            services=tuple(
                table.declare(Text(called, service_places[called])) for called, table in self.services.items()
            ),
            cache=tuple(cache.declare() for cache in self.cache),
        )


class IncludedTable(Strict):
    """A file that another one includes. What stands under `steps` is checked, and used by YAML's aliases."""

    version: Version = 1
    include: Includes = ()
    env: Env = Field(default_factory=dict)
    steps: dict[JobName, list[StepTable]] = Field(default_factory=dict)
    jobs: dict[JobName, JobTable] = Field(default_factory=dict)


class PipelineTable(IncludedTable):
    """The whole file."""

    on: OnValue | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What one file says."""

    env: Mapping[str, Text]
    jobs: Sequence[JobDeclaration]
    include: Sequence[Text]
    triggers: Triggers


TABLES: Final[Tables] = {
    (): PipelineTable,
    **ON_TABLES,
    ("steps", "*", "*"): StepTable,
    ("jobs", "*"): JobTable,
    ("jobs", "*", "matrix"): MatrixTable,
    ("jobs", "*", "concurrency"): ConcurrencyTable,
    ("jobs", "*", "artifacts", "*"): ArtifactTable,
    ("jobs", "*", "secrets", "*"): SecretTable,
    ("jobs", "*", "image"): ImageTable,
    ("jobs", "*", "shards"): ShardsTable,
    ("jobs", "*", "services", "*"): ServiceTable,
    ("jobs", "*", "services", "*", "image"): ServiceImageTable,
    ("jobs", "*", "services", "*", "health"): HealthTable,
    ("jobs", "*", "cache", "*"): CacheTable,
    ("jobs", "*", "steps", "*"): StepTable,
}


def declare(root: Node, *, included: bool = False) -> Part | list[Complaint]:
    """Read the tree of a `.surveil.yml`, or of a file that one includes."""
    root = flatten_steps(root)
    model = IncludedTable if included else PipelineTable
    checked = check(model, {**TABLES, (): model}, root)
    if isinstance(checked, list):
        return checked
    complaints = list(_check_axes(checked, root))
    if not included and isinstance(root, Table) and not root.entries.keys() & {"jobs", "include"}:
        complaints.append(Complaint("`jobs` is missing", root.place, hint_for_missing("jobs")))
    jobs = [_declare_job(root, name, table) for name, table in checked.jobs.items()]
    on = checked.on if isinstance(checked, PipelineTable) else None
    return complaints or Part(checked.env, jobs, checked.include, ANY if on is None else on.declare())


def _declare_job(root: Node, name: str, table: JobTable) -> JobDeclaration:
    places = {service: place_at(root, ("jobs", name, "services", service)) for service in table.services}
    return table.declare(Text(name, place_at(root, ("jobs", name))), places)


def _check_axes(checked: IncludedTable, root: Node) -> Iterator[Complaint]:
    """The names of a matrix' lists, which the model lets pass because it cannot know them."""
    for job, table in checked.jobs.items():
        for axis in table.matrix.axes:
            try:
                axis_name(axis)
                if axis == SHARD and table.shards:
                    raise ValueError("`shard` is the number that `shards` gives to each shard; choose another name")
            except ValueError as error:
                path = ("jobs", job, "matrix", axis)
                yield Complaint(f"`{path_text(path)}`: {error}", place_at(root, path))
