"""The container of an attempt: what it sees, who its processes are, what they may take, and that none is left.

What belongs here: from a job's `image` to a started container, and its end. What does not: talking to an engine
(`engine`), and what happens in the container (`keeper.contained`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from surveil.core.images import isolation_by
from surveil.errors import InfrastructureError
from surveil.execute.containers.fetching import Fetch
from surveil.execute.containers.pipes import PIPES, driven, group_facts, make_pipes
from surveil.execute.containers.root import (
    AS_ROOT,
    GIVE_BACK,
    GIVING,
    NOT_ROOT,
    RIGHTS,
    ROOT,
    has_others,
    tell_git,
)
from surveil.execute.containers.services import images_of, start_service
from surveil.execute.files import DiskOrder, ServiceOrder
from surveil.execute.isolation.sandbox import borrowed, git_folders
from surveil.execute.keeper.contained import INSIDE
from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass, replace
from surveil.protocol import ImageSpec, JobSpec, ServiceSpec
from surveil.say import Voice

if TYPE_CHECKING:
    from surveil.execute.containers.engine import Engine, Resolved, Session

AUTO: Final = "auto"
OFF: Final = "off"
UNIX: Final = "unix://"
GIVEN_S: Final = 30.0
"""How long an engine that was named, so that no other will do, may take for its first answer: it may just be starting,
on a machine with too much to do."""
PROBE_S: Final = 5.0
"""The same for one that may be there, while others may be as well."""
TMP: Final = "/tmp"  # noqa: S108  # what the container calls so
AT_ONCE_MAX: Final = 4
"""So many services of a job are started at once."""
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
    services: list[ServiceOrder] = field(default_factory=list)
    disk: DiskOrder | None = None
    note: str = ""
    """Who the steps are, where that is not the usual."""

    @property
    def isolation(self) -> str:
        """As attempts report it."""
        return isolation_by(self.image, self.note)


class Containers:
    """Containers of one engine for the attempts of one runner.

    `processes` and `memory_bytes` are the most that an attempt may take, whatever its job asks for; 0 is no limit. Its
    calls block, and raise InfrastructureError.
    """

    def __init__(self, engine: Engine, *, memory_bytes: int = 0, processes: int = 0) -> None:
        self._engine = engine
        self._memory_bytes = memory_bytes
        self._processes = processes

    @property
    def address(self) -> str:
        """Where the engine listens."""
        return self._engine.address

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def versions(self) -> dict[str, str]:
        """The engine and its parts."""
        return self._engine.versions()

    def resolve(self, image: ImageSpec, fetch: Fetch) -> Resolved:
        """Have the image here, as its pull policy wants it."""
        return self._engine.resolve(image, fetch)

    def resolve_all(self, spec: JobSpec, fetch: Fetch) -> list[Resolved]:
        """Have all images of a job here, its own first; the login is for the registry of that one."""
        images = images_of(spec)
        return [self._engine.resolve(image, fetch.of(image.name, images[0].name)) for image in images]

    def place(
        self,
        name: str,
        folder: Path,
        workspace: Workspace,
        image: ImageSpec,
        resolved: Resolved,
        *,
        labels: Mapping[str, str],
        secrets: Sequence[Path] = (),
        trusted: bool = True,
        kept: bool = False,
        services: Sequence[tuple[ServiceSpec, Resolved]] = (),
    ) -> Placed:
        """Start the container `name` for the attempt in `folder`, with the folders for its secrets, and those of its
        services in its network; their drivers then wait for a keeper. What is not `trusted` reaches nothing else, and
        is root nowhere. One that is `kept` stays when it ends, until it is removed.
        """
        from surveil.execute.containers.engine import Wanted  # noqa: PLC0415  # imports the SDK

        root = image.root and trusted
        if root:
            tell_git(workspace)
        shown = _shown(workspace)
        _make_mount_points(workspace, shown)
        memory = _least(image.memory_bytes, self._memory_bytes)
        processes = _least(image.processes, self._processes)
        wanted = Wanted(
            name=name,
            image=resolved,
            command=driven(INSIDE),
            folder=str(workspace.work),
            user=ROOT if root else self._us(),
            capabilities=RIGHTS if root else (),
            labels=labels,
            shown=[
                (make_pipes(folder / PIPES), INSIDE, False),
                *shown,
                *((path, str(path), False) for path in secrets),
            ],
            cpu_thousandths=image.cpu_thousandths,
            memory_bytes=memory,
            processes=processes,
            network=trusted,
            kept=kept,
            hosts=[service.name for service, _ in services],
        )
        first, groups = group_facts(self._engine.start(wanted))
        return Placed(
            pipes=folder / PIPES,
            first_process=first,
            groups=groups,
            memory_bytes=memory,
            processes=processes,
            image=resolved.digest,
            note=(AS_ROOT if root else NOT_ROOT) if image.root else "",
            services=self._serve_all(services, folder, name, labels, kept=kept),
            disk=self._gauged(image.disk_bytes, name, workspace),
        )

    def _gauged(self, most: int, name: str, workspace: Workspace) -> DiskOrder | None:
        folders = [str(workspace.root)]
        if workspace.root not in workspace.work.parents:
            folders.append(str(workspace.work))
        return DiskOrder(most, folders, self._engine.address.removeprefix(UNIX), name) if most else None

    def _serve_all(
        self,
        services: Sequence[tuple[ServiceSpec, Resolved]],
        folder: Path,
        name: str,
        labels: Mapping[str, str],
        *,
        kept: bool,
    ) -> list[ServiceOrder]:
        """Start them side by side: an engine takes a quarter of a second for each."""
        if not services:
            return []
        with ThreadPoolExecutor(AT_ONCE_MAX, "service") as pool:
            begun = [pool.submit(self._serve, *one, folder, name, labels, kept=kept) for one in services]
        return [one.result() for one in begun]

    def _serve(
        self,
        service: ServiceSpec,
        resolved: Resolved,
        folder: Path,
        name: str,
        labels: Mapping[str, str],
        *,
        kept: bool,
    ) -> ServiceOrder:
        return start_service(
            self._engine, service, resolved, folder, attempt=name, labels=labels, kept=kept,
            memory_bytes=_least(service.image.memory_bytes, self._memory_bytes),
            processes=_least(service.image.processes, self._processes),
        )  # fmt: skip

    def restart(self, name: str) -> None:
        """Start a container once more that was kept when it ended."""
        self._engine.restart(name)

    def shell(self, name: str, command: Sequence[str]) -> Session:
        """Run a program in a container that runs, on a terminal of its own; close what comes."""
        return self._engine.shell(name, command)

    def give_back(
        self, name: str, workspace: Workspace, image: ImageSpec, labels: Mapping[str, str], secrets: Sequence[Path] = ()
    ) -> None:
        """Make all files of an attempt ours again that steps made as root, by a container `name` of the same image.

        Where we are root ourselves there is nothing to do. That it cannot be done is said, and no more: some of the
        files are then neither kept nor deleted.
        """
        folders = [workspace.root, workspace.work, *secrets]
        if not image.root or os.geteuid() == 0 or not any(map(has_others, folders)):
            return
        from surveil.execute.containers.engine import Wanted  # noqa: PLC0415  # imports the SDK

        try:
            resolved = self._engine.resolve(replace(image, pull="never"))
            code = self._engine.run(
                Wanted(
                    name=name,
                    image=resolved,
                    command=["/bin/sh", "-c", GIVE_BACK, self._us(), *map(str, folders)],
                    folder="/",
                    user=ROOT,
                    labels=labels,
                    shown=[(path, str(path), True) for path in dict.fromkeys(folders)],
                    network=False,
                    capabilities=GIVING,
                )
            )
        except InfrastructureError as problem:
            voice.warning("files of root are not given back", container=name, reason=str(problem))
        else:
            if code:
                voice.warning("files of root are not given back", container=name, exit_code=code)

    def _us(self) -> str:
        """Our own user and group, as containers see them."""
        return ROOT if self._engine.rootless else f"{os.geteuid()}:{os.getegid()}"

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
        return Containers(_open(wanted, GIVEN_S), memory_bytes=memory_bytes, processes=processes), ""
    problem = "there is no container engine: neither Docker's nor Podman's socket is there"
    addresses = usual_addresses()
    patience_s = GIVEN_S if len(addresses) == 1 else PROBE_S
    for address in addresses:
        try:
            if Path(address.removeprefix(UNIX)).is_socket():
                return Containers(_open(address, patience_s), memory_bytes=memory_bytes, processes=processes), ""
        except InfrastructureError as error:
            problem = str(error)
        except PermissionError as error:
            # The machine's own Podman listens in a folder that only root looks into.
            problem = f"the runner's user may not look whether a container engine listens at {error.filename}"
    return None, problem


def usual_addresses() -> list[str]:
    """Where engines listen; what the environment names stands alone, as for Docker's own commands."""
    named = os.environ.get("DOCKER_HOST", "")
    if named:
        return [named] if named.startswith(UNIX) else []
    own = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    paths = ("/run/docker.sock", f"{own}/docker.sock", f"{own}/podman/podman.sock", "/run/podman/podman.sock")
    return [f"{UNIX}{path}" for path in paths]


def _open(address: str, patience_s: float) -> Engine:
    from surveil.execute.containers.engine import Engine  # noqa: PLC0415  # the SDK, which takes a quarter of a second

    return Engine(address, patience_s)


def _shown(workspace: Workspace) -> list[tuple[Path, str, bool]]:
    """What of this machine an attempt's container sees: its workspace, and what git needs of its surroundings."""
    found = [(workspace.root, str(workspace.root), True), (workspace.common_tmp, TMP, True)]
    if workspace.root not in workspace.work.parents:
        found += [(own, str(own), True) for own in (workspace.work, *git_folders(workspace.work))]
    return [*found, *((path, str(path), False) for path in borrowed(workspace.work))]


def _make_mount_points(workspace: Workspace, shown: Sequence[tuple[Path, str, bool]]) -> None:
    """Make the folders in the attempt's `/tmp` on which something else of it is mounted. An engine would make them as
    root, and a runner of an ordinary user could not delete them.

    Raises InfrastructureError.
    """
    try:
        for path, target, _ in shown:
            if TMP in map(str, Path(target).parents) and path.is_dir():
                (workspace.common_tmp / Path(target).relative_to(TMP)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"the job's {TMP} cannot be written: {error}") from error


def _least(*limits: int) -> int:
    """The tightest of these, of which 0 is none."""
    return min((limit for limit in limits if limit), default=0)
