"""Where this process may make control groups for attempts, and whether their limits hold.

What belongs here: finding a place for each controller, and trying it. What does not: the groups of attempts themselves
(`keeper.confines`).

With version 1 that is below our own group in the controller's tree. With version 2 a group that has processes of its
own cannot hand controllers on, so it is beside our own group: in a folder that was given to us and holds none, as
systemd makes it for `Delegate=yes` with `DelegateSubgroup=`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute.keeper.confines import Confines
from surveil.frozen import dataclass

CONTROLLERS: Final = ("memory", "pids")
PREFIX: Final = "surveil-"
PROBED_BYTES: Final = 64 * 1024 * 1024
PROBED_PROCESSES: Final = 64
_MOUNTS: Final = Path("/proc/self/mountinfo")
_GROUPS: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one attempt may take; 0 means no limit. `places` are the folders below which its control groups are made."""

    memory_bytes: int = 0
    processes: int = 0
    places: tuple[str, ...] = ()

    def folders(self, name: str) -> list[str]:
        """The control groups of an attempt with this name."""
        return [f"{place}/{PREFIX}{name}" for place in self.places]

    def left_behind(self, prefix: str, known: Iterable[str]) -> list[str]:
        """The control groups of attempts whose names begin with `prefix` and are none of these."""
        found = [path for place in self.places for path in Path(place).glob(f"{PREFIX}{prefix}*")]
        kept = {f"{PREFIX}{name}" for name in known}
        return [str(path) for path in found if path.name not in kept]


UNLIMITED: Final = Limits()


def find(memory_bytes: int, processes: int) -> Limits:
    """These limits with the places where they hold.

    Raises:
        InfrastructureError: a limit of memory is wanted, and there is no place where one holds.
    """
    wanted = {"memory": memory_bytes, "pids": processes}
    found = {controller: place for controller, place in _places() if wanted[controller] and _holds(place, controller)}
    if memory_bytes and "memory" not in found:
        raise InfrastructureError(
            "A limit of memory cannot be set: this process may make no control groups; run it as a service, as "
            "`docs/how-to/sandbox.md` shows, or start without `--memory`."
        )
    return Limits(memory_bytes, processes, tuple(dict.fromkeys(found.values())))


def groups_of(process: int) -> list[str]:
    """The control groups of somebody else's process that bound memory or processes; none where they are not seen."""
    own = _groups(Path(f"/proc/{process}/cgroup"))
    found: set[str] = set()
    for kind, root, point, options in _mounts():
        names = set(CONTROLLERS) & set(options.split(",")) if kind == "cgroup" else {""}
        folders = [_inside(root, point, own[name]) for name in names if name in own]
        found |= {folder for folder in folders if folder != point}
    return sorted(found)


def _groups(path: Path) -> dict[str, str]:
    """The groups of a process, by controller; that of version 2 by nothing."""
    own: dict[str, str] = {}
    for line in _read(path).splitlines():
        _, controllers, group = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), group)
    return own


def _mounts() -> Iterator[tuple[str, str, str, str]]:
    """The trees of control groups that are seen here: version, from where on, where, and with what controllers."""
    for line in _read(_MOUNTS).splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in {"cgroup", "cgroup2"}:
            yield kind, root, point, options


def _places() -> Iterator[tuple[str, str]]:
    """For each controller that may be used, the folder below which groups may be made."""
    own = _groups(_GROUPS)
    for kind, root, point, options in _mounts():
        if kind == "cgroup":
            for controller in set(CONTROLLERS) & set(options.split(",")):
                yield controller, _inside(root, point, own.get(controller, "/"))
        else:
            yield from _unified(Path(_inside(root, point, own.get("", "/"))))


def _inside(root: str, point: str, path: str) -> str:
    """The folder of a group in a mount that shows the tree from `root` on."""
    within = os.path.relpath(path, root)
    folder = os.path.normpath(f"{point}/{within}")
    return folder if not within.startswith("..") and Path(folder).is_dir() else point


def _unified(own: Path) -> Iterator[tuple[str, str]]:
    """What the group above ours can give to groups beside ours."""
    above = own.parent
    handed_on = above / "cgroup.subtree_control"
    for controller in CONTROLLERS:
        if controller in _read(above / "cgroup.controllers").split():
            with contextlib.suppress(OSError):
                if controller not in _read(handed_on).split():
                    handed_on.write_text(f"+{controller}")
                yield controller, str(above)


def _holds(place: str, controller: str) -> bool:
    """Try a group with both limits there."""
    confines = Confines([f"{place}/{PREFIX}trial-{os.getpid()}"], PROBED_BYTES, PROBED_PROCESSES)
    folder = Path(f"{place}/{PREFIX}trial-{os.getpid()}")
    names = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}[controller]
    limit = str(PROBED_BYTES if controller == "memory" else PROBED_PROCESSES)
    try:
        confines.make()
        return any(_read(folder / name).strip() == limit for name in names)
    except OSError:
        return False
    finally:
        confines.remove()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
