"""The container of an attempt: what it sees, who its processes are, what they may take, and that none is left.

What belongs here: from a job's `image` to a started container, and its end. What does not: talking to an engine
(`engine`), and what happens in the container (`contained`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from surveil.errors import InfrastructureError
from surveil.execute import cgroups
from surveil.execute.contained import ANSWERS, DRIVER, INSIDE, ORDERS, SCRIPT
from surveil.execute.sandbox import borrowed, git_folders
from surveil.execute.workspace import Workspace, remove
from surveil.mirror.command import Halt
from surveil.protocol import ImageSpec
from surveil.say import Voice

if TYPE_CHECKING:
    from surveil.execute.engine import Engine, Resolved

AUTO: Final = "auto"
OFF: Final = "off"
UNIX: Final = "unix://"
PROBE_S: Final = 5.0
PIPES: Final = "pipes"
"""The folder of an attempt's folder in which keeper and container talk."""
OWNER: Final = "surveil.folder"
_UNKNOWN: Final = 1 << 53

voice = Voice("execute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A container that runs, as a keeper has to know it."""

    pipes: Path
    first_process: int
    groups: list[str]
    memory_bytes: int
    processes: int
    image: str

    @property
    def isolation(self) -> str:
        """As attempts report it."""
        return f"container {self.image}"


class Containers:
    """Containers of one engine for the attempts of one runner.

    `processes` and `memory_bytes` are the most that an attempt may take, whatever its job asks for; 0 is no limit. Its
    calls block, and raise InfrastructureError.
    """

    def __init__(self, engine: Engine, *, memory_bytes: int = 0, processes: int = 0) -> None:
        self._engine = engine
        self._memory_bytes = memory_bytes
        self._processes = processes

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def versions(self) -> dict[str, str]:
        """The engine and its parts."""
        return self._engine.versions()

    def resolve(self, image: ImageSpec, halt: Halt | None = None) -> Resolved:
        """Have the image here."""
        return self._engine.resolve(image, halt)

    def place(
        self,
        name: str,
        folder: Path,
        workspace: Workspace,
        image: ImageSpec,
        labels: Mapping[str, str],
        *,
        secrets: Sequence[Path] = (),
        trusted: bool = True,
    ) -> Placed:
        """Start the container `name` for the attempt in `folder`, with the folders for its secrets; its driver then
        waits for a keeper. What is not `trusted` has no network.
        """
        from surveil.execute.engine import Wanted  # noqa: PLC0415  # imports the SDK

        resolved = self._engine.resolve(image)
        memory = _least(image.memory_bytes, self._memory_bytes)
        processes = _least(image.processes, self._processes)
        wanted = Wanted(
            name=name,
            image=resolved,
            command=["/bin/sh", f"{INSIDE}/{DRIVER}", INSIDE],
            folder=str(workspace.work),
            user=f"{os.geteuid()}:{os.getegid()}",
            labels=labels,
            shown=[
                (_pipes(folder), INSIDE, False),
                *_shown(workspace),
                *((path, str(path), False) for path in secrets),
            ],
            cpu_thousandths=image.cpu_thousandths,
            memory_bytes=memory,
            processes=processes,
            network=trusted,
        )
        first = self._engine.start(wanted)
        groups = cgroups.groups_of(first) if first else []
        return Placed(
            pipes=folder / PIPES,
            # Where the engine counts processes of its own, the number is somebody else's here.
            first_process=first if groups else 0,
            groups=groups,
            memory_bytes=memory,
            processes=processes,
            image=resolved.digest,
        )

    def remove(self, name: str) -> None:
        """End a container and remove it; that there is none is fine, and so is that nobody can say so now: nothing runs
        in one whose keeper is gone, and what is left of it goes with the next sweep.
        """
        try:
            self._engine.remove(name)
        except InfrastructureError as problem:
            voice.warning("container is not removed yet", container=name, reason=str(problem))

    def of(self, owner: str) -> list[str]:
        """The names of this owner's containers, as far as the engine answers."""
        try:
            return self._engine.labelled(f"{OWNER}={owner}")
        except InfrastructureError as problem:
            voice.warning("containers left behind are not looked for", reason=str(problem))
            return []


def chosen(wanted: str, *, memory_bytes: int = 0, processes: int = 0) -> tuple[Containers | None, str]:
    """The containers that this machine offers: of the engine at the wanted address, or of the first that answers at one
    of the usual ones; or none, and a clause that says why.

    Raises InfrastructureError if there is no engine at an address that was given.
    """
    if wanted == OFF:
        return None, "containers are switched off there (`engine` is `off`)"
    if wanted != AUTO:
        return Containers(_open(wanted), memory_bytes=memory_bytes, processes=processes), ""
    problem = "there is no container engine: neither Docker's nor Podman's socket is there"
    for address in usual_addresses():
        if Path(address.removeprefix(UNIX)).is_socket():
            try:
                return Containers(_open(address), memory_bytes=memory_bytes, processes=processes), ""
            except InfrastructureError as error:
                problem = str(error)
    return None, problem


def usual_addresses() -> list[str]:
    """Where engines listen; what the environment names stands alone, as for Docker's own commands."""
    named = os.environ.get("DOCKER_HOST", "")
    if named:
        return [named] if named.startswith(UNIX) else []
    own = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    paths = ("/run/docker.sock", f"{own}/docker.sock", f"{own}/podman/podman.sock", "/run/podman/podman.sock")
    return [f"{UNIX}{path}" for path in paths]


def _open(address: str) -> Engine:
    from surveil.execute.engine import Engine  # noqa: PLC0415  # the SDK, which takes a quarter of a second

    return Engine(address, PROBE_S)


def _pipes(folder: Path) -> Path:
    """The folder in which keeper and driver talk, made anew."""
    pipes = folder / PIPES
    try:
        with contextlib.suppress(FileNotFoundError):
            remove(pipes)
        pipes.mkdir(mode=0o755)
        for name in (ORDERS, ANSWERS):
            os.mkfifo(pipes / name)
            (pipes / name).chmod(0o666)
        (pipes / DRIVER).write_text(SCRIPT, encoding="ascii")
        (pipes / DRIVER).chmod(0o644)
        pipes.chmod(0o755)
    except OSError as error:
        raise InfrastructureError(f"no folder could be made for the job's container: {error}") from error
    return pipes


def _shown(workspace: Workspace) -> list[tuple[Path, str, bool]]:
    """What of this machine an attempt's container sees: its workspace, and what git needs of its surroundings."""
    found = [(workspace.root, str(workspace.root), True), (workspace.common_tmp, "/tmp", True)]  # noqa: S108
    if workspace.root not in workspace.work.parents:
        found += [(own, str(own), True) for own in (workspace.work, *git_folders(workspace.work))]
    return [*found, *((path, str(path), False) for path in borrowed(workspace.work))]


def _least(*limits: int) -> int:
    """The tightest of these, of which 0 is none."""
    return min((limit for limit in limits if limit), default=0)
