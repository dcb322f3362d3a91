"""The services of an attempt: containers beside its own, in whose network they are, each with a driver of its own.

What belongs here: from a service to a started container, whose driver then waits for the keeper, and to what the keeper
has to know of it. What does not: running it, and waiting until it is ready (`keeper.services`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surveil.errors import InfrastructureError
from surveil.execute.containers.pipes import PIPES, driven, group_facts, make_pipes
from surveil.execute.files import ServiceOrder
from surveil.execute.keeper.contained import INSIDE
from surveil.protocol import ImageSpec, JobSpec, ServiceSpec

if TYPE_CHECKING:
    from surveil.execute.containers.engine import Engine, Resolved

BETWEEN: Final = "_"
"""Between the name of an attempt's container and that of a service; the first never has one."""
CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""What images of servers need that begin as root, take their data folder for a user, and become that user."""
PORTS_MAX: Final = 32
_SHELL: Final = ("/bin/sh", "-c")
_TCP: Final = "tcp"


def container_of(attempt: str, service: str) -> str:
    """What the container of a service is called, by that of its attempt."""
    return f"{attempt}{BETWEEN}{service}"


def attempt_of(container: str) -> str:
    """The container of the attempt that one belongs to, which may be itself."""
    return container.partition(BETWEEN)[0]


def start_service(
    engine: Engine,
    service: ServiceSpec,
    resolved: Resolved,
    folder: Path,
    *,
    attempt: str,
    labels: Mapping[str, str],
    memory_bytes: int,
    processes: int,
    kept: bool,
) -> ServiceOrder:
    """Start the container of a service beside the container `attempt`, which runs; the attempt's own files are in
    `folder`. Raises InfrastructureError.
    """
    from surveil.execute.containers.engine import Wanted  # noqa: PLC0415  # imports the SDK

    pipes = make_pipes(folder / f"{PIPES}.{service.name}")
    wanted = Wanted(
        name=container_of(attempt, service.name),
        image=resolved,
        command=driven(INSIDE),
        folder="",
        user="",
        labels={**labels, "surveil.service": service.name},
        shown=[(pipes, INSIDE, False)],
        cpu_thousandths=service.image.cpu_thousandths,
        memory_bytes=memory_bytes,
        processes=processes,
        beside=attempt,
        kept=kept,
        capabilities=CAPABILITIES,
    )
    try:
        first, groups = group_facts(engine.start(wanted))
    except InfrastructureError as error:
        sentence = f"service '{service.name}' of image {service.image.name}: {error}"
        raise InfrastructureError(sentence, blameless=error.blameless) from error
    health, ports = _ready_when(service, resolved.config)
    return ServiceOrder(
        name=service.name,
        argv=_words(service, resolved),
        env=dict(service.env),
        secrets=list(service.secrets),
        cwd=str(resolved.config.get("WorkingDir") or "/"),
        health=health,
        ports=ports,
        interval_ms=service.interval_ms,
        ready_ms=service.ready_ms,
        container=str(pipes),
        first_process=first,
        cgroups=groups,
        memory_bytes=memory_bytes,
        processes=processes,
        image=resolved.digest,
    )


def _words(service: ServiceSpec, image: Resolved) -> list[str]:
    """What it runs: as for the engine's own commands, a command goes behind the image's entrypoint."""
    words = [*_texts(image.config.get("Entrypoint")), *(service.command or _texts(image.config.get("Cmd")))]
    if not words:
        raise InfrastructureError(
            f"image {service.image.name} does not say what service '{service.name}' is to run; give it a `command`",
            blameless=True,
        )
    return words


def _ready_when(service: ServiceSpec, config: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """The command that says so, or the ports of which one is enough; neither where nobody knows more than that it
    runs.
    """
    if service.health or service.port:
        return [*service.health], [service.port] if service.port else []
    match _texts((config.get("Healthcheck") or {}).get("Test")):
        case ["NONE"]:
            return [], []
        case ["CMD", *words] if words:
            return words, []
        case ["CMD-SHELL", script]:
            return [*(_texts(config.get("Shell")) or _SHELL), script], []
    exposed = (port.partition("/") for port in config.get("ExposedPorts") or ())
    return [], sorted(int(port) for port, _, kind in exposed if port.isdecimal() and kind in {"", _TCP})[:PORTS_MAX]


def _texts(words: Sequence[Any] | None) -> list[str]:
    return [str(word) for word in words or ()]


def images_of(spec: JobSpec) -> list[ImageSpec]:
    """The images of a job that has one: its own, then those of its services."""
    return [image for image in (spec.image, *(service.image for service in spec.services)) if image is not None]


def containers_of(attempt: str, services: Iterable[ServiceSpec]) -> list[str]:
    """The containers of an attempt: those of its services first, which are in the network of its own."""
    return [*(container_of(attempt, service.name) for service in services), attempt]
