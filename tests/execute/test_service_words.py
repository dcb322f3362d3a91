"""What an image says of a service: what it runs, and when it is ready."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from surveil.errors import InfrastructureError
from surveil.execute.containers.container import AT_ONCE_MAX, Containers
from surveil.execute.containers.engine import Resolved, Wanted
from surveil.execute.containers.services import PORTS_MAX, _ready_when, _words, attempt_of, container_of
from surveil.execute.workspace import Workspace
from surveil.protocol import ImageSpec, ServiceSpec

SHELL = ["/bin/sh", "-c"]


def service(**how: Any) -> ServiceSpec:
    return ServiceSpec(name="db", image=ImageSpec(name="db:1"), env={}, **how)


class Image:
    """An image that says this."""

    def __init__(self, **config: Any) -> None:
        self.config = config


@pytest.mark.parametrize(
    ("config", "command", "words"),
    [
        ({"Entrypoint": ["/entry"], "Cmd": ["serve"]}, (), ["/entry", "serve"]),
        ({"Entrypoint": ["/entry"], "Cmd": ["serve"]}, ("other",), ["/entry", "other"]),
        ({"Entrypoint": None, "Cmd": ["serve"]}, (), ["serve"]),
        ({}, ("serve",), ["serve"]),
    ],
)
def test_a_command_goes_behind_the_entrypoint(
    config: dict[str, Any], command: tuple[str, ...], words: list[str]
) -> None:
    assert _words(service(command=command), Image(**config)) == words  # type: ignore[arg-type]


def test_an_image_that_runs_nothing_needs_a_command() -> None:
    with pytest.raises(
        InfrastructureError, match="image db:1 does not say what service 'db' is to run; give it a `command`"
    ):
        _words(service(), Image())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "how", "ready"),
    [
        ({}, {}, ([], [])),
        ({"ExposedPorts": {"5432/tcp": {}, "53/udp": {}, "80/tcp": {}, "x": {}}}, {}, ([], [80, 5432])),
        ({"ExposedPorts": {f"{port}/tcp": {} for port in range(1, 99)}}, {}, ([], [*range(1, PORTS_MAX + 1)])),
        ({"ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["CMD", "ask"]}}, {}, (["ask"], [])),
        ({"ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]}}, {}, ([], [])),
        ({"ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": []}}, {}, ([], [80])),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "ask it"]}}, {}, ([*SHELL, "ask it"], [])),
        ({"Shell": ["bash", "-c"], "Healthcheck": {"Test": ["CMD-SHELL", "ask"]}}, {}, (["bash", "-c", "ask"], [])),
        ({"Healthcheck": {"Test": ["CMD", "ask"]}}, {"port": 7}, ([], [7])),
        ({"ExposedPorts": {"80/tcp": {}}}, {"health": ("ask",)}, (["ask"], [])),
    ],
)  # fmt: skip
def test_it_is_ready_as_the_file_says_else_as_the_image_does(
    config: dict[str, Any], how: dict[str, Any], ready: tuple[list[str], list[int]]
) -> None:
    assert _ready_when(service(**how), config) == ready


def test_the_container_of_a_service_belongs_to_that_of_its_attempt() -> None:
    attempt = "surveil-0a1b2c3d-7-test.1-c1e2decd"
    assert attempt_of(container_of(attempt, "my_db")) == attempt_of(attempt) == attempt


class Slow:
    """An engine in which a service begins only when as many others as may be are about to."""

    rootless = False
    address = "unix:///none"

    def __init__(self) -> None:
        self.together = threading.Barrier(AT_ONCE_MAX)
        self.within = self.most = 0
        self.lock = threading.Lock()

    def start(self, wanted: Wanted) -> int:
        """Start one; the job's own is alone."""
        if not wanted.beside:
            return 0
        with self.lock:
            self.within += 1
            self.most = max(self.most, self.within)
        self.together.wait(30.0)
        with self.lock:
            self.within -= 1
        if wanted.name.endswith("_bad"):
            raise InfrastructureError("the engine does not like it")
        return 0


def place(tmp_path: Path, engine: Slow, *names: str) -> list[tuple[str, str]]:
    """The services of a job with these, and of which image each is."""
    workspace = Workspace.below(tmp_path / "space")
    workspace.work.mkdir(parents=True)
    found = Resolved(id="1", digest="job@sha256:1")
    services = [
        (
            ServiceSpec(name=name, image=ImageSpec(name=name), env={}, command=("serve",)),
            Resolved(id=name, digest=f"{name}@sha256:2"),
        )
        for name in names
    ]
    placed = Containers(engine).place(  # type: ignore[arg-type]
        "a", tmp_path, workspace, ImageSpec(name="job"), found, labels={}, services=services
    )
    return [(order.name, order.image) for order in placed.services]


def test_services_begin_side_by_side_but_never_too_many_and_stay_in_order(tmp_path: Path) -> None:
    engine = Slow()
    names = [f"s{number}" for number in range(2 * AT_ONCE_MAX)]
    assert place(tmp_path, engine, *names) == [(name, f"{name}@sha256:2") for name in names]
    assert engine.most == AT_ONCE_MAX


def test_one_service_that_cannot_begin_is_what_is_told_of_all(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="the engine does not like it"):
        place(tmp_path, Slow(), "a", "b", "bad", "d")
