"""Units of systemd: one for each role, as closed as the role allows, and the files that they are.

What belongs here: their text, and putting it where systemd looks. What does not: what people type (`systemd`).

A unit is ours as long as its sum fits: what somebody changed by hand is never written over. Changes belong in a file
beside it, as `systemctl edit` makes it, which nothing here touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from surveil.disk import write_whole
from surveil.errors import InfrastructureError, InvalidError
from surveil.frozen import dataclass

ROLES: Final = ("dispatcher", "observer", "runner", "web", "notify", "up")
SYSTEM: Final = Path("/etc/systemd/system")
STATE: Final = Path("/var/lib/surveil")
_SUM: Final = "# Sum: "
_BESIDE_DISPATCHER: Final = {"web": "dispatcher", "notify": "dispatcher"}
_RUNS_STEPS: Final = frozenset({"runner", "up"})

# For each list: what holds in the units of the system, and what a user's own systemd can do as well.
_ALWAYS: Final = ("NoNewPrivileges=yes", "RestrictRealtime=yes", "KeyringMode=private")
_CLOSED: Final = (
    "UMask=0077", "LockPersonality=yes", "RestrictSUIDSGID=yes", "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM",
)  # fmt: skip
_CLOSED_SYSTEM: Final = (
    "ProtectSystem=strict", "PrivateTmp=yes", "PrivateDevices=yes", "ProtectClock=yes", "ProtectControlGroups=yes",
    "ProtectHostname=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes",
    "ProtectProc=invisible", "CapabilityBoundingSet=", "RemoveIPC=yes",
)  # fmt: skip
_RUNNER: Final = (
    "# The agent alone is stopped: jobs go on under their keepers, and the next agent takes them over.",
    "KillMode=process",
    "SendSIGKILL=no",
    "# A step that takes all memory is ended, and neither the agent nor the other jobs with it.",
    "OOMPolicy=continue",
)


class Done(StrEnum):
    """What came of it, in words."""

    MADE = "made"
    CHANGED = "made anew"
    KEPT = "there already, as it is to be"
    REMOVED = "removed"
    ABSENT = "not there, so nothing was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a unit is to say. `command` are the words that it starts; without a `user` it is one of a user's own."""

    role: str
    command: tuple[str, ...]
    user: str | None
    data: Path | None
    spawns: bool = False

    @property
    def name(self) -> str:
        """Of its file."""
        return name_of(self.role)


def name_of(role: str) -> str:
    """The file's name of a role's unit."""
    return f"surveil-{role}.service"


def data_of(role: str) -> Path:
    """Where a role of the system keeps its data, unless it is told otherwise; some share the dispatcher's."""
    return STATE / _BESIDE_DISPATCHER.get(role, role)


def text_of(unit: Unit) -> str:
    """The whole file."""
    after = (
        "network-online.target"
        if unit.role in {"dispatcher", "up"}
        else "network-online.target surveil-dispatcher.service"
    )
    lines = [
        "[Unit]",
        f"Description=surveil {unit.role}",
        *([f"After={after}", "Wants=network-online.target"] if unit.user else []),
        "# By default systemd gives up for good after five starts in ten seconds.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *([f"User={unit.user}"] if unit.user else []),
        f"ExecStart={' '.join(_quoted(word) for word in unit.command)}",
        "# Part of the design: starting is recovery.",
        "Restart=always",
        "RestartSec=1",
        *_about_role(unit),
        *_walls(unit),
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if unit.user else 'default.target'}",
        "",
    ]
    body = "\n".join(lines)
    edit = f"systemctl {'' if unit.user else '--user '}edit {unit.name.removesuffix('.service')}"
    head = f"# Made by `surveil systemd install`. Change it with `{edit}`, which writes a file beside it.\n"
    return f"{head}{_SUM}{_sum(head + body)}\n{body}"


def _about_role(unit: Unit) -> list[str]:
    match unit.role:
        case "runner":
            return [*_RUNNER, *(["OOMScoreAdjust=-250"] if unit.user else [])]
        case "up":
            return ["# It ends its parts itself, in order.", "KillMode=mixed", "LimitNOFILE=65536"]
        case "dispatcher":
            return ["LimitNOFILE=65536", *([] if unit.spawns else ["MemoryMax=2G"])]
        case "web":
            return ["LimitNOFILE=65536"]
        case _:
            return []


def _walls(unit: Unit) -> list[str]:
    """What the process may not do, and so nothing that it starts."""
    found = [*_ALWAYS]
    if unit.role in _RUNS_STEPS or unit.spawns:
        # Steps make namespaces for their sandboxes, with a /proc that nothing hides in part; they have devices, and
        # whatever files they like, as on any machine.
        found += ["ProtectSystem=full"] if unit.user else []
    else:
        found += _CLOSED
        # Repositories may be in a home; nobody else has any business there.
        home = f"ProtectHome={'read-only' if unit.role == 'observer' else 'yes'}"
        found += [home, *_CLOSED_SYSTEM] if unit.user else []
    return [*found, *(_place(unit.data) if unit.user and unit.data else [])]


def _place(data: Path) -> list[str]:
    if data.is_relative_to(STATE):
        return [f"StateDirectory={data.relative_to(STATE.parent)}", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths={_quoted(str(data))}"]


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if plain and not set(plain) & set(" \t\"'\\;"):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def install(folder: Path, unit: Unit) -> Done:
    """Put a unit into a folder that systemd reads.

    Raises:
        InvalidError: what is there was changed by hand, or is not ours.
        InfrastructureError: it cannot be written.
    """
    path, text = folder / unit.name, text_of(unit)
    before = _ours(path)
    if before == text:
        return Done.KEPT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
        path.chmod(0o644)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror}; type it as root, or with --user."
        ) from error
    return Done.MADE if before is None else Done.CHANGED


def remove(folder: Path, role: str) -> Done:
    """Take a unit out again. Files beside it, which are its user's, stay. Raises as `install` does."""
    path = folder / name_of(role)
    if _ours(path) is None:
        return Done.ABSENT
    if any(folder.glob(f"*.wants/{path.name}")):
        raise InvalidError(
            f"{path.name} is enabled: type `systemctl {'' if folder == SYSTEM else '--user '}disable --now "
            f"{path.name.removesuffix('.service')}` first."
        )
    try:
        path.unlink()
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be removed: {error.strerror}; type it as root, or with --user."
        ) from error
    return Done.REMOVED


def _ours(path: Path) -> str | None:
    """The text that is there, if any. Raises InvalidError where it is not what we wrote."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidError(f"{path} cannot be read, and so is not touched ({error}).") from error
    head, _, rest = text.partition("\n")
    said, _, body = rest.partition("\n")
    if said != _SUM + _sum(f"{head}\n{body}"):
        raise InvalidError(
            f"{path} was written or changed by hand, and is not touched: move what you need into "
            f"{path}.d/own.conf, remove it, and repeat."
        )
    return text


def _sum(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def require_absolute(paths: Sequence[str]) -> None:
    """See that a service finds the same files as whoever types this. Raises InvalidError."""
    for each in paths:
        if not each.startswith("/"):
            raise InvalidError(f"A service starts in no folder of yours: write {each!r} as a whole path, from / on.")
