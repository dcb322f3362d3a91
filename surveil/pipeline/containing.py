"""What a pipeline file may say of containers: the image of a job, and the services beside it.

What belongs here: the models of these keys. What does not: single values (`values`, `servicing`), the other keys of a
job (`schema`), and containers themselves (`surveil.execute`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from surveil.core.declared import ImageDeclaration, ServiceDeclaration, Text
from surveil.pipeline.checking import Strict
from surveil.pipeline.document import Scalar
from surveil.pipeline.servicing import (
    INTERVAL_MS_DEFAULT,
    READY_MS_DEFAULT,
    CheckWords,
    Interval,
    Port,
    ReadyWithin,
    ShortHealth,
    Words,
)
from surveil.pipeline.values import ROOT, RUNNER, Cpus, Env, Processes, PullValue, Size, Texts, TextValue, UserValue


def by_name(value: object) -> object:
    """A name alone stands for the image or the secret of that name."""
    return {"name": value} if isinstance(value, Scalar) else value


def by_image(value: object) -> object:
    """An image alone stands for a service of it."""
    return {"image": value} if isinstance(value, Scalar) else value


class ServiceImageTable(Strict):
    """`jobs.NAME.services.NAME.image`."""

    name: TextValue
    pull: PullValue = "missing"
    cpus: Cpus = 0
    memory: Size = 0
    pids: Processes = 0

    def declare(self) -> ImageDeclaration:
        """The same as core.pipeline takes it."""
        return ImageDeclaration(
            name=self.name,
            pull=self.pull,
            cpu_thousandths=self.cpus,
            memory_bytes=self.memory,
            processes=self.pids,
        )


class ImageTable(ServiceImageTable):
    """`jobs.NAME.image`."""

    disk: Size = 0
    user: UserValue = RUNNER
    credentials: TextValue | None = None

    def declare(self) -> ImageDeclaration:
        """The same as core.pipeline takes it."""
        same = super().declare()
        return replace(same, root=self.user == ROOT, credentials=self.credentials, disk_bytes=self.disk)


class HealthTable(Strict):
    """`jobs.NAME.services.NAME.health`."""

    command: CheckWords = ()
    port: Port = 0
    interval: Interval = INTERVAL_MS_DEFAULT
    timeout: ReadyWithin = READY_MS_DEFAULT

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.command and self.port:
            raise ValueError("a service is ready by a `command` or by a `port`: remove one")
        return self


class ServiceTable(Strict):
    """One entry of `jobs.NAME.services`."""

    image: Annotated[ServiceImageTable, BeforeValidator(by_name)]
    command: Words = ()
    env: Env = Field(default_factory=dict)
    secrets: Texts = ()
    health: Annotated[HealthTable, ShortHealth] = Field(default_factory=HealthTable)

    def declare(self, name: Text) -> ServiceDeclaration:
        """The same as core.pipeline takes it."""
        return ServiceDeclaration(
            name=name,
            image=self.image.declare(),
            env=self.env,
            command=self.command,
            secrets=self.secrets,
            health=self.health.command,
            port=self.health.port,
            interval_ms=self.health.interval,
            ready_ms=self.health.timeout,
        )
