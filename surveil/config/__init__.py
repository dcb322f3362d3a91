"""Configuration: what each role can be told, and the only reader of the environment and of the configuration file.

What belongs here: one record for each role, with its defaults, and `load`. What does not: how values are found
(`sources`), read (`values`), checked and combined (`loading`), and what keys mean (`roles`).

A flag wins over `SURVEIL_KEY` in the environment (or `SURVEIL_KEY_FILE`, the path of a file with the value), that
over the configuration file, that over the default. The file is `--config`, else `SURVEIL_CONFIG`, else `config.toml`
in the platform's user configuration folder.

The records are plain and not models of the validator that reads pipeline files: it was measured to cost every runner
and client 60 to 90 ms of start and 15 MB of memory, to check a dozen values.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from surveil.core import patterns
from surveil.core.policy import Policy
from surveil.frozen import dataclass

LISTEN_DEFAULT: Final = "tcp://127.0.0.1:7300"
HTTP_DEFAULT: Final = "127.0.0.1:7380"
REQUEST_RATE_DEFAULT: Final = 100
"""Requests a second of one session or token."""
REFS_DEFAULT: Final = patterns.DEFAULT
SLOTS_MAX: Final = 1024
PROCESSES_DEFAULT: Final = 4096
"""So many processes and threads an attempt may have: more than any build needs, fewer than would stop a machine."""
ARTIFACT_SPACE_DEFAULT: Final = 20 * 1024**3
VAULT_MOUNT_DEFAULT: Final = "secret"
CACHE_SPACE_DEFAULT: Final = 10 * 1024**3
RUNNERS_MAX: Final = 64
"""So many runners one process starts on its own machine; more slots do the same for less."""


def data_home() -> Path:
    """The platform's folder for what programs of this user keep: the dispatcher's, and the others' are below it."""
    from platformdirs import user_data_dir  # noqa: PLC0415  # most commands are told where their data is

    return Path(user_data_dir("surveil"))


def default_file() -> Path:
    """Where the configuration file is looked for when nobody names one."""
    from platformdirs import user_config_dir  # noqa: PLC0415  # whoever names a file does not need it

    return Path(user_config_dir("surveil")) / "config.toml"


def slots_of_this_machine() -> int:
    """As many as the cores that this process may use."""
    return min(len(os.sched_getaffinity(0)), SLOTS_MAX)


def name_of_this_machine() -> str:
    """The host's name, or a word where it has none that could be typed."""
    from surveil.config.values import name  # noqa: PLC0415  # the package's own modules need these records first

    try:
        return name(socket.gethostname())
    except ValueError:
        return "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """`surveil dispatcher`. What steps may see and take, and how commits are had, is that of each runner that it starts
    itself.
    """

    data: Path = field(default_factory=data_home)
    listen: str = LISTEN_DEFAULT
    database: str | None = None
    trusted_refs: tuple[str, ...] = ()
    blobs: str | None = None
    blobs_endpoint: str | None = None
    blobs_region: str | None = None
    blobs_credentials: Path | None = None
    artifact_space_bytes: int = ARTIFACT_SPACE_DEFAULT
    vault: str | None = None
    vault_token: Path | None = None
    vault_mount: str = VAULT_MOUNT_DEFAULT
    cache_space_bytes: int = CACHE_SPACE_DEFAULT
    spawn: int = 0
    sandbox: str = "auto"
    expose: tuple[Path, ...] = ()
    memory_bytes: int = 0
    processes: int = PROCESSES_DEFAULT
    ssh_config: Path | None = None
    credentials: Path | None = None
    engine: str = "auto"
    log_format: str = "auto"
    log_level: str = "info"
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """`surveil web`, on the machine of the dispatcher whose folder `data` is."""

    data: Path = field(default_factory=data_home)
    http: str = HTTP_DEFAULT
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    metrics: str | None = None
    public_badges: bool = False
    request_rate: int = REQUEST_RATE_DEFAULT
    dispatcher: str | None = None
    trusted_refs: tuple[str, ...] = ()
    ssh_config: Path | None = None
    credentials: Path | None = None
    database: str | None = None
    blobs: str | None = None
    blobs_endpoint: str | None = None
    blobs_region: str | None = None
    blobs_credentials: Path | None = None
    log_format: str = "auto"
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """`surveil notify`, on the machine of the dispatcher whose folder `data` is. Without `rules`, they are the file
    `notify.toml` in that folder.
    """

    data: Path = field(default_factory=data_home)
    rules: Path | None = None
    public_url: str | None = None
    database: str | None = None
    log_format: str = "auto"
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverConfig:
    """`surveil observer`. Without an interval, paths are looked at every 2 s and URLs every 10 s."""

    data: Path = field(default_factory=lambda: data_home() / "observer")
    dispatcher: str | None = None
    join: str | None = None
    name: str = field(default_factory=name_of_this_machine)
    repos: tuple[str, ...] = ()
    refs: tuple[str, ...] = REFS_DEFAULT
    trusted_refs: tuple[str, ...] = ()
    interval_ms: int | None = None
    ssh_config: Path | None = None
    credentials: Path | None = None
    log_format: str = "auto"
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """`surveil runner`."""

    data: Path = field(default_factory=lambda: data_home() / "runner")
    dispatcher: str | None = None
    join: str | None = None
    name: str = field(default_factory=name_of_this_machine)
    slots: int = field(default_factory=slots_of_this_machine)
    labels: tuple[str, ...] = ()
    sandbox: str = "auto"
    expose: tuple[Path, ...] = ()
    memory_bytes: int = 0
    processes: int = PROCESSES_DEFAULT
    engine: str = "auto"
    ssh_config: Path | None = None
    credentials: Path | None = None
    log_format: str = "auto"
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpConfig:
    """`surveil up`. `slots` and `labels` are those of each runner that it starts, and so is what steps may see."""

    data: Path = field(default_factory=data_home)
    listen: str = LISTEN_DEFAULT
    http: str | None = None
    metrics: str | None = None
    public_badges: bool = False
    rules: Path | None = None
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    database: str | None = None
    repos: tuple[str, ...] = ()
    refs: tuple[str, ...] = REFS_DEFAULT
    trusted_refs: tuple[str, ...] = ()
    blobs: str | None = None
    blobs_endpoint: str | None = None
    blobs_region: str | None = None
    blobs_credentials: Path | None = None
    artifact_space_bytes: int = ARTIFACT_SPACE_DEFAULT
    vault: str | None = None
    vault_token: Path | None = None
    vault_mount: str = VAULT_MOUNT_DEFAULT
    cache_space_bytes: int = CACHE_SPACE_DEFAULT
    interval_ms: int | None = None
    runners: int = 1
    slots: int = field(default_factory=slots_of_this_machine)
    labels: tuple[str, ...] = ()
    sandbox: str = "auto"
    expose: tuple[Path, ...] = ()
    memory_bytes: int = 0
    processes: int = PROCESSES_DEFAULT
    engine: str = "auto"
    once: bool = False
    ssh_config: Path | None = None
    credentials: Path | None = None
    log_format: str = "auto"
    log_level: str = "info"
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """`surveil run`, which needs no dispatcher. Caches lie in the folder `data`."""

    data: Path = field(default_factory=data_home)
    sandbox: str = "auto"
    expose: tuple[Path, ...] = ()
    memory_bytes: int = 0
    processes: int = PROCESSES_DEFAULT
    engine: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """`surveil replay`, which asks a dispatcher and runs a job here."""

    data: Path = field(default_factory=data_home)
    dispatcher: str | None = None
    server: str | None = None
    token: str | None = None
    sandbox: str = "auto"
    expose: tuple[Path, ...] = ()
    memory_bytes: int = 0
    processes: int = PROCESSES_DEFAULT
    engine: str = "auto"
    ssh_config: Path | None = None
    credentials: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Every command that asks a dispatcher: `status`, `submit`, `logs` and their like."""

    data: Path = field(default_factory=data_home)
    dispatcher: str | None = None
    server: str | None = None
    token: str | None = None
    join: str | None = None
    trusted_refs: tuple[str, ...] = ()
    ssh_config: Path | None = None
    credentials: Path | None = None


ROLES: Final[Mapping[str, type]] = MappingProxyType(
    {
        "dispatcher": DispatcherConfig,
        "web": WebConfig,
        "notify": NotifyConfig,
        "observer": ObserverConfig,
        "runner": RunnerConfig,
        "up": UpConfig,
        "run": RunConfig,
        "replay": ReplayConfig,
        "client": ClientConfig,
    }
)

Role = TypeVar(
    "Role",
    DispatcherConfig,
    WebConfig,
    NotifyConfig,
    ObserverConfig,
    RunnerConfig,
    UpConfig,
    RunConfig,
    ReplayConfig,
    ClientConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A setting as `config show` prints it; secrets are covered."""

    key: str
    value: str
    origin: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[Role]):
    """A role's configuration, and for each key where its value came from."""

    value: Role
    origins: Mapping[str, str]

    def shown(self) -> list[Shown]:
        """Every setting of the role in the order of its record, durations as people write them."""
        from surveil.config.roles import settings_of  # noqa: PLC0415  # only who shows them needs their meanings

        return [
            Shown(key=key, value=setting.shown_in(self.value), origin=self.origins[key])
            for key, setting in settings_of(type(self.value)).items()
        ]


def load(
    role: type[Role],
    flags: Mapping[str, object | None],
    *,
    environ: Mapping[str, str] | None = None,
    config_file: str | Path | None = None,
) -> Loaded[Role]:
    """Find and check every setting of a role.

    `flags` maps keys (`listen`, `interval`, `labels`) to what was typed; None and empty lists were not typed.
    `environ` is the process's own unless given. `config_file` is the value of `--config`.

    Raises:
        UsageError: only flags are wrong. The message holds one line for each of them.
        InvalidError: something in the environment or the file is wrong; one line for each problem, with its origin.
    """
    from surveil.config.loading import find_and_check  # noqa: PLC0415  # these modules need the records first

    value, origins = find_and_check(role, flags, os.environ if environ is None else environ, config_file)
    return Loaded(value=value, origins=origins)
