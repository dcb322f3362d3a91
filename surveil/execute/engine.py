"""The container engine of this machine, Docker or Podman, through the Docker SDK: images, and containers by name.

What belongs here: every call of the SDK, its bounds in time, and sentences for what goes wrong. What does not: what a
container of an attempt looks like (`containers`), and what runs in it (`contained`). The SDK takes a quarter of a
second to import, so nothing imports this module before an engine is wanted.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import docker
import requests
from docker.types import LogConfig, Mount, Ulimit
from docker.utils import parse_repository_tag

from surveil.errors import InfrastructureError
from surveil.mirror.command import Halt
from surveil.protocol import ImageSpec

ANSWER_S: Final = 60.0
"""How long the engine may be silent. Starting takes a quarter of a second, removing ten seconds at the worst."""
PULL_S: Final = 15 * 60.0
GONE_S: Final = 20.0
GONE_LOOK_S: Final = 0.05
UNIX: Final = "unix://"
NOT_FOUND: Final = 404
CONFLICT: Final = 409
OOM_SCORE: Final = 500
FILES_MAX: Final = 65_536
PROCESSES_MAX: Final = 32_768
"""Of one user in all containers together, as Podman has it itself; what one container may have is bounded apart."""
_WORDS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An image as the engine has it: what it is run by, and by what people find the very same one again."""

    id: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A container that is to be made and started. `shown` are folders of this machine that it sees: where, under which
    path, and whether it may write there. Limits that are 0 do not hold.
    """

    name: str
    image: Resolved
    command: Sequence[str]
    folder: str
    user: str
    labels: Mapping[str, str]
    shown: Sequence[tuple[Path, str, bool]]
    cpu_thousandths: int = 0
    memory_bytes: int = 0
    processes: int = 0
    network: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """One engine, by the address of its socket. Its calls block, and may be made by any thread; all of them raise
    InfrastructureError.
    """

    def __init__(self, address: str, timeout_s: float = ANSWER_S) -> None:
        self.address = address
        with self._trouble("cannot be asked"):
            self._api = docker.APIClient(base_url=address, version="auto", timeout=timeout_s)
        self._api.timeout = ANSWER_S

    def close(self) -> None:
        """Let go of it."""
        self._api.close()

    def versions(self) -> dict[str, str]:
        """What it and its parts are, by their names."""
        with self._trouble("does not say its version"):
            told = self._api.version()
        parts = {str(part["Name"]): str(part["Version"]) for part in told.get("Components") or ()}
        return parts or {"Engine": str(told.get("Version", ""))}

    # ---- images ----

    def resolve(self, image: ImageSpec, halt: Halt | None = None) -> Resolved:
        """Have the image here, as its pull policy wants it."""
        found = None if image.pull == "always" else self._known(image.name)
        if found is None and image.pull == "never":
            raise InfrastructureError(
                f"image {image.name} is not on this machine, and `pull: never` forbids to fetch it; "
                f"type `docker pull {image.name}` there"
            )
        if found is None:
            self._pull(image.name, halt)
            found = self._known(image.name)
        if found is None:
            raise InfrastructureError(f"image {image.name} was fetched and is not there")
        repository = parse_repository_tag(image.name)[0]
        digests = [str(one) for one in found.get("RepoDigests") or ()]
        digest = next((one for one in digests if one.partition("@")[0].endswith(repository)), str(found["Id"]))
        return Resolved(id=str(found["Id"]), digest=digest)

    def _known(self, name: str) -> dict[str, Any] | None:
        with self._trouble(f"does not say whether it has image {name}"):
            try:
                return dict(self._api.inspect_image(name))
            except docker.errors.ImageNotFound:
                return None

    def _pull(self, name: str, halt: Halt | None) -> None:
        """Fetch an image, in bounded time: also a registry that gives a byte a minute ends."""
        repository, tag = parse_repository_tag(name)
        until = time.monotonic() + PULL_S
        step = ""
        try:
            with contextlib.closing(self._api.pull(repository, tag=tag or "latest", stream=True, decode=True)) as told:
                for event in told:
                    if "error" in event:
                        raise InfrastructureError(f"image {name} cannot be fetched: {_short(event['error'])}")
                    step = str(event.get("status", step))
                    if halt is not None and halt.rung:
                        raise InfrastructureError(f"image {name} was not fetched: the runner stops")
                    if time.monotonic() >= until:
                        raise InfrastructureError(
                            f"image {name} was not fetched within {PULL_S // 60:.0f} min; it stood at: {_short(step)}"
                        )
        except docker.errors.APIError as error:
            raise InfrastructureError(f"image {name} cannot be fetched: {_explained(error)}") from error
        except requests.exceptions.RequestException as error:
            # Whether it was the engine or the registry behind it, silence is all that is known.
            self.versions()
            raise InfrastructureError(
                f"image {name} cannot be fetched: its registry said nothing for {ANSWER_S:.0f} s"
            ) from error

    # ---- containers ----

    def start(self, wanted: Wanted) -> int:
        """Make a container and start it; return its first process as this machine counts, 0 where it does not say.

        Whatever had its name before is removed.
        """
        self.remove(wanted.name)
        with self._trouble("cannot start a container"):
            try:
                made = self._make(wanted)
                self._api.start(made["Id"])
                return int(self._api.inspect_container(made["Id"])["State"]["Pid"])
            except docker.errors.APIError as error:
                with contextlib.suppress(InfrastructureError):
                    self.remove(wanted.name)
                words = _explained(error)
                if "/bin/sh" in words and "no such file" in words:
                    raise InfrastructureError(
                        f"image {wanted.image.digest} has no /bin/sh, which runs the steps; use one that has"
                    ) from error
                raise

    def _make(self, wanted: Wanted) -> dict[str, Any]:
        limits = {
            "mem_limit": wanted.memory_bytes or None,
            "memswap_limit": wanted.memory_bytes or None,
            "nano_cpus": wanted.cpu_thousandths * 1_000_000 or None,
            "pids_limit": wanted.processes or None,
        }
        host = self._api.create_host_config(
            auto_remove=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ipc_mode="private",
            oom_score_adj=OOM_SCORE,
            log_config=LogConfig(type="none"),
            ulimits=[
                _limit("core", 0),
                _limit("nofile", _own(resource.RLIMIT_NOFILE, FILES_MAX)),
                _limit("nproc", _own(resource.RLIMIT_NPROC, PROCESSES_MAX)),
            ],
            mounts=[
                Mount(target, str(source), type="bind", read_only=not writable)
                for source, target, writable in wanted.shown
            ],
            **({} if wanted.network else {"network_mode": "none"}),
            **{name: value for name, value in limits.items() if value},
        )
        return dict(
            self._api.create_container(
                wanted.image.id,
                name=wanted.name,
                entrypoint=list(wanted.command),
                command=[],
                user=wanted.user,
                working_dir=wanted.folder,
                labels=dict(wanted.labels),
                environment=dict(wanted.environment),
                healthcheck={"test": ["NONE"]},
                host_config=host,
            )
        )

    def remove(self, name: str) -> bool:
        """End a container and remove it, and wait until it is gone; whether there was one."""
        until = time.monotonic() + GONE_S
        was = False
        with self._trouble(f"does not remove container {name}"):
            while True:
                try:
                    self._api.remove_container(name, v=True, force=True)
                    was = True
                except docker.errors.APIError as error:
                    if error.status_code == NOT_FOUND:
                        return was
                    # It may be about to remove it by itself.
                    if error.status_code != CONFLICT or time.monotonic() >= until:
                        raise
                time.sleep(GONE_LOOK_S)

    def labelled(self, label: str) -> list[str]:
        """The names of all containers with this label, running or not."""
        with self._trouble("does not list its containers"):
            found = self._api.containers(all=True, filters={"label": [label]})
        return [name.removeprefix("/") for one in found for name in one["Names"][:1]]

    @contextlib.contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            # The SDK leaves sockets open that it could not connect.
            with socket.socket(socket.AF_UNIX) as asked:
                asked.connect(self.address.removeprefix(UNIX))
            yield
        except docker.errors.APIError as error:
            raise InfrastructureError(f"the container engine {what}: {_explained(error)}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            path = self.address.removeprefix(UNIX)
            raise InfrastructureError(
                f"the container engine {what}: nothing answers at {path} ({_cause(error)}); "
                f"`docker -H {self.address} version` says whether it runs"
            ) from error


def _limit(name: str, most: int) -> Ulimit:
    return Ulimit(name=name, soft=most, hard=most)


def _own(which: int, most: int) -> int:
    """This much, but never more than this process may have itself: an engine that may not raise a limit would fail."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def _explained(error: docker.errors.APIError) -> str:
    return _short(error.explanation or error)


def _cause(error: BaseException) -> str:
    """The innermost reason; what is around it are the names of classes."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return _short(getattr(error, "strerror", None) or error)


def _short(words: object) -> str:
    return " ".join(str(words).split())[:_WORDS_MAX].rstrip(".")
