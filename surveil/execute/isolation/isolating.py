"""Which isolation the attempts of this machine have: a sandbox where one can be built, if that is wanted.

What belongs here: the choice, its trial, and its reasons in words. What does not: what a sandbox shows (`sandbox`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute.environment import DEFAULT_PATH
from surveil.execute.isolation import cgroups
from surveil.execute.isolation.cgroups import UNLIMITED, Limits
from surveil.execute.isolation.sandbox import NO_MORE_NAMESPACES, Sandbox, describe
from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass, replace

TRIAL_S: Final = 30.0
TRIAL: Final = "surveil.execute.isolation.trial"
PROGRAM: Final = "bwrap"
AUTO: Final = "auto"
REQUIRED: Final = "required"
OFF: Final = "off"
SWITCHES: Final = (
    (Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"), "1", "0"),
    (Path("/proc/sys/kernel/unprivileged_userns_clone"), "0", "1"),
    (Path("/proc/sys/user/max_user_namespaces"), "0", "16384"),
)
"""By which a kernel is told to let nobody make a namespace of users: the value that says so, and one that does not."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps attempts apart: a sandbox, or nothing but their folders, and limits. `why` there is no sandbox, and
    what to type to get one, where that is known.
    """

    sandbox: Sandbox | None = None
    why: str = ""
    next: str = ""
    limits: Limits = UNLIMITED

    @property
    def name(self) -> str:
        """As attempts report it."""
        return "process" if self.sandbox is None else "bubblewrap"

    @property
    def complaint(self) -> str:
        """A sentence where there is no sandbox although nobody wants it so; empty otherwise."""
        if self.sandbox is not None or not self.why:
            return ""
        hint = f"; `{self.next}` changes that" if self.next else ""
        return f"Steps run without a sandbox, so they see what this user sees: {self.why}{hint}."

    def argv(self, workspace: Workspace, secrets: str = "") -> list[str]:
        """What builds the sandbox of an attempt; nothing without one. `secrets` is the folder for them that it sees."""
        if self.sandbox is None:
            return []
        # Last of all: it lies below a folder that is the sandbox's own.
        return self.sandbox.argv(workspace) + (["--ro-bind", secrets, secrets] if secrets else [])


UNKEPT: Final = Isolation()
"""Steps are processes like all others of their user."""


def choose(
    wanted: str,
    *,
    memory_bytes: int = 0,
    processes: int = 0,
    data: Path | None = None,
    expose: Sequence[Path] = (),
    secrets: Iterable[Path] = (),
) -> Isolation:
    """The isolation of this machine's attempts, tried out. Blocks for some 50 ms.

    Args:
        wanted: `required`, `auto` or `off`.
        memory_bytes, processes: what one attempt may take; 0 is no limit.
        data, expose, secrets: as of `sandbox.describe`.

    Raises:
        InfrastructureError: a sandbox or a limit of memory is required, and there can be none.
    """
    limits = cgroups.find(memory_bytes, processes)
    if wanted == OFF:
        return Isolation(limits=limits)
    found = find(data=data, expose=expose, secrets=secrets)
    if found.sandbox is None and wanted == REQUIRED:
        advice = f"type `{found.next}`, or " if found.next else ""
        raise InfrastructureError(
            f"Steps cannot be run in a sandbox: {found.why}; {advice}start with `--sandbox auto`."
        )
    return replace(found, limits=limits)


def find(*, data: Path | None = None, expose: Sequence[Path] = (), secrets: Iterable[Path] = ()) -> Isolation:
    """The best isolation that this machine has, tried out."""
    program = shutil.which(PROGRAM)
    if program is None:
        return Isolation(why="bubblewrap is not installed", next=_as_root("apt install bubblewrap"))
    missing = next((path for path in expose if not path.exists()), None)
    if missing is not None:
        return Isolation(why=f"`{missing}` is to be exposed and is not there", next=f"ls -ld {missing}")
    sandbox = describe(
        program,
        path=os.environ.get("PATH", DEFAULT_PATH),
        home=_home(),
        data=None if data is None else data.absolute(),
        expose=expose,
        secrets=secrets,
    )
    why = ""
    for one in (sandbox, sandbox.without(NO_MORE_NAMESPACES)):
        problem = _try(one)
        if not problem:
            return Isolation(one)
        why = why or problem
    return Isolation(why=why, next=_remedy())


def _home() -> Path:
    """The home of this process's user; that of nobody, where a container gave it a number that has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def _try(sandbox: Sandbox) -> str:
    """Build it once; what goes wrong is returned as a clause."""
    with tempfile.TemporaryDirectory(prefix="surveil-trial-") as folder:
        workspace = Workspace.below(Path(folder))
        for path in (workspace.work, workspace.common_tmp):
            path.mkdir()
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", TRIAL],
                input=json.dumps(sandbox.argv(workspace)).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TRIAL_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    words = done.stdout.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (words[-1] if words else f"its trial ended with {done.returncode}")


def _remedy() -> str:
    """What to type when the kernel lets nobody make a namespace; nothing where the reason is not known."""
    for path, forbids, allowed in SWITCHES:
        try:
            if path.read_text(encoding="ascii").strip() == forbids:
                name = str(path).removeprefix("/proc/sys/").replace("/", ".")
                return _as_root(f"sysctl {name}={allowed}")
        except OSError:
            continue
    return ""


def _as_root(command: str) -> str:
    return command if os.geteuid() == 0 else f"sudo {command}"
