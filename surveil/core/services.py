"""The services of a job: containers beside its own.

What belongs here: from what was written to what travels, and what cannot be. What does not: images (`images`), and how
services are run (`surveil.execute`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from surveil.core.declared import JobDeclaration, ServiceDeclaration, Text
from surveil.core.filling import Filler
from surveil.core.images import filled
from surveil.core.spelling import did_you_mean, quoted
from surveil.protocol import SERVICES_MAX, SecretUse, ServiceSpec


def services_of(job: JobDeclaration, filler: Filler, secrets: Sequence[SecretUse]) -> tuple[ServiceSpec, ...]:
    """The services of a job whose steps get these secrets."""
    if job.services and job.image is None:
        hint = "add the `image` in which the steps run, which reach services in there by their names"
        filler.complain(f"job {quoted(job.name.value)} has services and no image", job.services[0].name.place, hint)
    ports: dict[int, str] = {}
    for service in job.services:
        if service.port and (other := ports.setdefault(service.port, service.name.value)) != service.name.value:
            message = f"service {quoted(service.name.value)} and service {quoted(other)} listen on the same port"
            hint = "containers of one job share their network: give one of them another port by its `command`"
            filler.complain(message, service.name.place, hint)
    if len(job.services) > SERVICES_MAX:
        filler.complain(f"a job has at most {SERVICES_MAX} services", job.services[SERVICES_MAX].name.place)
        return ()
    return tuple(_service(service, filler, secrets) for service in job.services)


def texts_of(service: ServiceSpec) -> Iterator[str]:
    """All of a service that its author chose."""
    yield from (service.name, service.image.name, *service.command, *service.secrets, *service.health)
    yield from (text for item in service.env.items() for text in item)


def _service(declared: ServiceDeclaration, filler: Filler, secrets: Sequence[SecretUse]) -> ServiceSpec:
    env = {name: filler.fill(value) for name, value in declared.env.items()}
    for name in declared.secrets:
        _check_secret(name, declared, filler, secrets)
    return ServiceSpec(
        name=declared.name.value,
        image=filled(declared.image, filler),
        env=env,
        command=tuple(map(filler.fill, declared.command)),
        secrets=tuple(name.value for name in declared.secrets),
        health=tuple(map(filler.fill, declared.health)),
        port=declared.port,
        interval_ms=declared.interval_ms,
        ready_ms=declared.ready_ms,
    )


def _check_secret(name: Text, declared: ServiceDeclaration, filler: Filler, secrets: Sequence[SecretUse]) -> None:
    """A service has a part of what the job has, by the same variables."""
    variables = [use.env for use in secrets if use.env]
    if name.value in declared.env:
        message = f"the variable {name.value} is set by a secret and by `env` of service {quoted(declared.name.value)}"
        filler.complain(message, name.place, "remove one")
    if name.value not in variables:
        message = f"{quoted(name.value)} is no variable in which the job has a secret"
        hint = did_you_mean(name.value, variables) or "add it to the job's `secrets`"
        filler.complain(message, name.place, hint)
