"""Configuration: the only reader of the environment and of the configuration file.

What belongs here: `load`, which asks every place in order and remembers which one answered. What does not: what the
roles do with their values.

A flag wins over `SURVEIL_KEY` in the environment (or `SURVEIL_KEY_FILE`, the path of a file with the value), that
over the configuration file, that over the default. The file is `--config`, else `SURVEIL_CONFIG`, else `config.toml`
in the platform's user configuration folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from surveil.config.roles import (
    ROLES,
    ClientConfig,
    DispatcherConfig,
    ObserverConfig,
    RunnerConfig,
    Setting,
    UpConfig,
    settings_of,
    shown,
)
from surveil.config.sources import CONFIG_VARIABLE, Found, Problem, from_environment, from_file, from_flags
from surveil.core.policy import Policy
from surveil.core.spelling import format_duration
from surveil.errors import InvalidError, UsageError

__all__ = [
    "ROLES",
    "ClientConfig",
    "DispatcherConfig",
    "Loaded",
    "ObserverConfig",
    "RunnerConfig",
    "Shown",
    "UpConfig",
    "default_file",
    "load",
]

DEFAULT: Final = "default"

Role = TypeVar("Role", DispatcherConfig, ObserverConfig, RunnerConfig, UpConfig, ClientConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A setting as `config show` prints it; secrets are covered."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[Role]):
    """A role's configuration, and for each key where its value came from."""

    value: Role
    origins: Mapping[str, str]

    def shown(self) -> list[Shown]:
        """Every setting of the role in the order of its record, durations as people write them."""
        return [
            Shown(key=key, value=_show(setting, _value_of(self.value, setting)), origin=self.origins[key])
            for key, setting in settings_of(type(self.value)).items()
        ]


def default_file() -> Path:
    """Where the configuration file is looked for when nobody names one."""
    from platformdirs import user_config_dir  # noqa: PLC0415  # whoever names a file does not need it

    return Path(user_config_dir("surveil")) / "config.toml"


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
    environment = os.environ if environ is None else environ
    settings = settings_of(role)
    problems: list[Problem] = []
    found: dict[str, Found] = {}
    file = _file_of(config_file, environment)
    if file is not None:
        name = next(name for name, known in ROLES.items() if known is role)
        found |= {each.key: each for each in from_file(name, settings, file, problems)}
    found |= {each.key: each for each in from_environment(settings, environment, problems)}
    found |= {each.key: each for each in from_flags(settings, flags)}
    read = _read_all(settings, found, problems)
    _refuse(problems)
    value = _record(role, settings, read)
    _check_policy(value, found)
    origins = {key: found[key].origin if key in found else DEFAULT for key in settings}
    return Loaded(value=value, origins=origins)


def _file_of(config_file: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that was named, which must exist, or the usual one if it does."""
    named = config_file or environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    usual = default_file()
    return usual if usual.exists() else None


def _read_all(settings: Mapping[str, Setting], found: Mapping[str, Found], problems: list[Problem]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, each in found.items():
        try:
            read[settings[key].field] = settings[key].read(each.value)
        except ValueError as error:
            sentence = f"`{key}`, set by {each.origin}: {error}"
            problems.append(Problem(sentence=sentence, typed=each.origin.startswith("flag ")))
    return read


def _refuse(problems: list[Problem]) -> None:
    if problems:
        message = "\n".join(problem.sentence for problem in problems)
        raise UsageError(message) if all(problem.typed for problem in problems) else InvalidError(message)


def _record(role: type[Role], settings: Mapping[str, Setting], read: Mapping[str, Any]) -> Role:
    own = {name: value for name, value in read.items() if "." not in name}
    if any("." in setting.field for setting in settings.values()):
        changed = {name.partition(".")[2]: value for name, value in read.items() if "." in name}
        own["policy"] = replace(Policy(), **changed)
    return role(**own)


def _check_policy(
    value: DispatcherConfig | ObserverConfig | RunnerConfig | UpConfig | ClientConfig, found: Mapping[str, Found]
) -> None:
    """Numbers that are sound alone and harmful together."""
    policy = getattr(value, "policy", None)
    if not isinstance(policy, Policy):
        return
    places = sorted({each.origin for key, each in found.items() if key.startswith("policy.")})
    if policy.lease_ms < 2 * policy.heartbeat_ms:
        raise InvalidError(
            f"`policy.lease` ({format_duration(policy.lease_ms)}) must be at least two heartbeats "
            f"({format_duration(policy.heartbeat_ms)} each), or one lost message would lose a job; "
            f"set by {', '.join(places)}"
        )
    if policy.margin_ms >= policy.lease_ms:
        raise InvalidError(
            f"`policy.margin` ({format_duration(policy.margin_ms)}) must be shorter than `policy.lease` "
            f"({format_duration(policy.lease_ms)}); set by {', '.join(places)}"
        )


def _value_of(value: object, setting: Setting) -> object:
    for name in setting.field.split("."):
        value = getattr(value, name)
    return value


def _show(setting: Setting, value: object) -> str:
    if value is None:
        return ""
    if setting.field.endswith("_ms") and isinstance(value, int):
        return format_duration(value)
    return shown(value) if setting.show is str else setting.show(value)
