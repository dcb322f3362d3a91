"""The container engine of this machine, Docker or Podman, through the Docker SDK: images, and containers by name.

What belongs here: every call of the SDK, its bounds in time, and sentences for what goes wrong. What does not: what a
container of an attempt looks like (`container`, `services`), and what runs in it (`keeper.contained`). The SDK takes a
quarter of a second to import, so nothing imports this module before an engine is wanted.
"""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Final

import docker
import requests
from docker.types import LogConfig, Mount, Ulimit
from docker.utils import parse_repository_tag

from surveil.core.spelling import format_duration
from surveil.errors import InfrastructureError
from surveil.execute.containers.fetching import Fetch, Progress
from surveil.frozen import dataclass, replace
from surveil.protocol import ImageSpec

ANSWER_S: Final = 60.0
"""How long the engine may be silent. Starting takes a quarter of a second, removing ten seconds at the worst."""
PULL_S: Final = 15 * 60.0
QUIET_S: Final = 2 * 60.0
"""How long it may say nothing while it fetches; the registry behind it has as much time for each of its answers."""
GONE_S: Final = 20.0
GONE_LOOK_S: Final = 0.05
UNIX: Final = "unix://"
LOOPBACK: Final = "127.0.0.1"
NOT_FOUND: Final = 404
CONFLICT: Final = 409
OOM_SCORE: Final = 500
FILES_MAX: Final = 65_536
PROCESSES_MAX: Final = 32_768
"""Of one user in all containers together, as Podman has it itself. No limit of users holds for root, so it is also the
most that one container may have.
"""
ROOTLESS: Final = "name=rootless"
REMAPPED: Final = "name=userns"
"""As engines call it among their options."""
HINTS: Final = {
    "unauthorized|denied|basic auth|forbidden": "; is its name right, and the login? `image: {credentials: SECRET}` "
    "names one, else that of `docker login` on the runner holds",
    "manifest.*(unknown|not found)": "; the registry has no image of this name and tag",
    "connection refused|no such host|network is unreachable|i/o timeout": "; does its registry run, and can the "
    "runner's machine reach it?",
}
"""By what registries and engines say: what people can do about it."""
ANSWERED: Final = (
    "unauthorized|(?<!permission )denied|basic auth|manifest.*(unknown|not found)|no matching manifest|name unknown"
    "|not known to registry|failed to resolve reference.*: not found"
)
"""As registries say that they have no such image, or not for everybody: each machine would hear that. One that cannot
be reached may be there for others.
"""
NOBODYS: Final = Fetch()
_WORDS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An image as the engine has it: what it is run by, and by what people find the very same one again."""

    id: str
    digest: str
    config: Mapping[str, Any] = field(default_factory=dict)
    """What it says of how it is to be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A container that is to be made and started. `shown` are folders of this machine that it sees: where, under which
    path, and whether it may write there. Limits that are 0 do not hold; of processes there are never any number.

    Without a `user` it is that of the image. It has the network of the container `beside` instead of one of its own
    where there is such, and knows the machine itself by the names `hosts`.
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
    beside: str = ""
    hosts: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    kept: bool = False
    """Whether it stays when it has ended, so that it can be looked into."""


class Session:
    """A program on a terminal in a container."""

    def __init__(self, api: Any, program: str, terminal: Any) -> None:
        self._api = api
        self._program = program
        self._terminal = terminal

    def fileno(self) -> int:
        """What it prints is read there, and what is typed is written there."""
        return int(self._terminal.fileno())

    def resize(self, rows: int, columns: int) -> None:
        """The terminal has this size from now on; that nobody can say so is fine."""
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            self._api.exec_resize(self._program, height=rows, width=columns)

    def close(self) -> None:
        """Let go of it."""
        # The SDK keeps there what holds the connection, which has to go first.
        self._terminal._response.close()  # noqa: SLF001
        self._terminal.close()


class _Client(docker.APIClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK waits for ever while an image is fetched; this one for as long as an engine may say nothing then."""

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        if kwargs.get("timeout", self) is None:
            kwargs["timeout"] = QUIET_S
        return dict(super()._set_request_timeout(kwargs))


class Engine:
    """One engine, by the address of its socket. Its calls block, and may be made by any thread; all of them raise
    InfrastructureError.
    """

    def __init__(self, address: str, timeout_s: float = ANSWER_S) -> None:
        self.address = address
        with self._trouble("cannot be asked"):
            self._api = _Client(base_url=address, version="auto", timeout=timeout_s)
            options = self._api.info().get("SecurityOptions") or ()
        self._api.timeout = ANSWER_S
        self.rootless = ROOTLESS in options
        """Whether its user is ours, whom its containers see as root."""
        if REMAPPED in options:
            self.close()
            raise InfrastructureError(
                f"the container engine at {address.removeprefix(UNIX)} has other numbers for the users of its "
                "containers (`userns-remap`), which could use no file of ours; start one without, or one without root"
            )

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

    def resolve(self, image: ImageSpec, fetch: Fetch = NOBODYS) -> Resolved:
        """Have the image here, as its pull policy wants it."""
        found = None if image.pull == "always" else self._known(image.name)
        if found is None and image.pull == "never":
            raise InfrastructureError(
                f"image {image.name} is not on this machine, and `pull: never` forbids to fetch it; "
                f"type `docker pull {image.name}` there",
                blameless=True,
            )
        if found is None:
            self._pull(image.name, fetch)
            found = self._known(image.name)
        if found is None:
            raise InfrastructureError(f"image {image.name} was fetched and is not there")
        repository = parse_repository_tag(image.name)[0]
        digests = [str(one) for one in found.get("RepoDigests") or ()]
        digest = next((one for one in digests if one.partition("@")[0].endswith(repository)), str(found["Id"]))
        return Resolved(id=str(found["Id"]), digest=digest, config=found.get("Config") or {})

    def _known(self, name: str) -> dict[str, Any] | None:
        with self._trouble(f"does not say whether it has image {name}"):
            try:
                return dict(self._api.inspect_image(name))
            except docker.errors.ImageNotFound:
                return None

    def _pull(self, name: str, fetch: Fetch) -> None:
        """Fetch an image, in bounded time: also a registry that gives a byte a minute ends."""
        repository, tag = parse_repository_tag(name)
        until = time.monotonic() + PULL_S
        progress = Progress(name, fetch.say)
        try:
            told = self._api.pull(
                repository, tag=tag or "latest", stream=True, decode=True, auth_config=fetch.credentials
            )
            with contextlib.closing(told):
                for event in told:
                    if "error" in event:
                        raise _not_fetched(name, _short(event["error"]))
                    progress.take(event)
                    if fetch.stopped():
                        raise InfrastructureError(f"image {name} was not fetched: nobody waits for it any more")
                    if time.monotonic() >= until:
                        lasted, step = format_duration(round(PULL_S * 1000)), _short(progress.step)
                        raise InfrastructureError(f"image {name} was not fetched within {lasted}; it stood at: {step}")
        except docker.errors.APIError as error:
            raise _not_fetched(name, _explained(error)) from error
        except requests.exceptions.RequestException as error:
            # Whether it was the engine or the registry behind it, silence is all that is known.
            self.versions()
            lasted = format_duration(round(QUIET_S * 1000))
            raise _not_fetched(name, f"its registry said nothing for {lasted}") from error

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
                        f"image {wanted.image.digest} has no /bin/sh, which runs the steps; use one that has",
                        blameless=True,
                    ) from error
                raise

    def run(self, wanted: Wanted) -> int:
        """Start a container, wait for its end and remove it; its exit code."""
        self.remove(wanted.name)
        with self._trouble("cannot run a container"):
            try:
                made = self._make(replace(wanted, kept=True))
                self._api.start(made["Id"])
                return int(self._api.wait(made["Id"], timeout=ANSWER_S)["StatusCode"])
            finally:
                self.remove(wanted.name)

    def restart(self, name: str) -> None:
        """Start a container that has ended, once the engine has seen it, too: until then it would do nothing."""
        until = time.monotonic() + GONE_S
        with self._trouble("cannot start a container again"):
            while self._api.inspect_container(name)["State"]["Running"] and time.monotonic() < until:
                time.sleep(GONE_LOOK_S)
            self._api.start(name)

    def shell(self, name: str, command: Sequence[str]) -> Session:
        """Run a program in a container that runs, on a terminal of its own."""
        with self._trouble("cannot run a shell in a container"):
            program = str(self._api.exec_create(name, list(command), stdin=True, tty=True)["Id"])
            return Session(self._api, program, self._api.exec_start(program, tty=True, socket=True))

    def _make(self, wanted: Wanted) -> dict[str, Any]:
        limits = {
            "mem_limit": wanted.memory_bytes or None,
            "memswap_limit": wanted.memory_bytes or None,
            "nano_cpus": wanted.cpu_thousandths * 1_000_000 or None,
            "pids_limit": wanted.processes or PROCESSES_MAX,
        }
        host = self._api.create_host_config(
            auto_remove=not wanted.kept,
            cap_drop=["ALL"],
            cap_add=list(wanted.capabilities),
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
            **_network(wanted),
            **{name: value for name, value in limits.items() if value},
        )
        return dict(
            self._api.create_container(
                wanted.image.id,
                name=wanted.name,
                entrypoint=list(wanted.command),
                command=[],
                user=wanted.user or None,
                working_dir=wanted.folder or None,
                labels=dict(wanted.labels),
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


def _network(wanted: Wanted) -> dict[str, Any]:
    """The options for what it reaches, and by which names."""
    if wanted.beside:
        return {"network_mode": f"container:{wanted.beside}"}
    hosts = {"extra_hosts": dict.fromkeys(wanted.hosts, LOOPBACK)} if wanted.hosts else {}
    return hosts if wanted.network else hosts | {"network_mode": "none"}


def _limit(name: str, most: int) -> Ulimit:
    return Ulimit(name=name, soft=most, hard=most)


def _own(which: int, most: int) -> int:
    """This much, but never more than this process may have itself: an engine that may not raise a limit would fail."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def _not_fetched(name: str, why: str) -> InfrastructureError:
    """In a sentence, with what to do about it where that can be known."""
    hint = next((hint for words, hint in HINTS.items() if re.search(words, why, re.IGNORECASE)), "")
    sentence = f"image {name} cannot be fetched: {why}{hint}"
    return InfrastructureError(sentence, blameless=re.search(ANSWERED, why, re.IGNORECASE) is not None)


def _explained(error: docker.errors.APIError) -> str:
    return _short(error.explanation or error)


def _cause(error: BaseException) -> str:
    """The innermost reason; what is around it are the names of classes."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return _short(getattr(error, "strerror", None) or error)


def _short(words: object) -> str:
    return " ".join(str(words).split())[:_WORDS_MAX].rstrip(".")
