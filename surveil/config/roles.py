"""What can be configured: one record for each role, each field with its default, its reader and its meaning.

What belongs here: settings. What does not: where their values come from (`sources`), how one value is read
(`values`).

These are plain records and not models of the validator, which reads pipeline files: it was measured to cost every
runner and client 60 to 90 ms of start and 15 MB of memory, to check a dozen values.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from surveil.config import values
from surveil.core.policy import Policy
from surveil.core.spelling import printable

LISTEN_DEFAULT: Final = "tcp://127.0.0.1:7300"
SLOTS_MAX: Final = 1024
SPAWN_MAX: Final = 64
INTERVAL_MS_MIN: Final = 100
INTERVAL_MS_MAX: Final = 86_400_000

Value = TypeVar("Value")


def data_home() -> Path:
    """The platform's folder for what programs of this user keep."""
    from platformdirs import user_data_dir  # noqa: PLC0415  # most commands are told where their data is

    return Path(user_data_dir("surveil"))


def slots_of_this_machine() -> int:
    """As many as the cores that this process may use."""
    return min(len(os.sched_getaffinity(0)), SLOTS_MAX)


def name_of_this_machine() -> str:
    """The host's name, or a word where it has none that could be typed."""
    try:
        return values.name(socket.gethostname())
    except ValueError:
        return "localhost"


def _setting(
    read: Callable[[object], Value],
    meaning: str,
    *,
    default: Any = MISSING,
    make: Callable[[], Value] | None = None,
    flag: str = "",
    show: Callable[[object], str] = str,
) -> Any:
    metadata = {"read": read, "meaning": meaning, "flag": flag, "show": show}
    return (
        field(default_factory=make, metadata=metadata)
        if make is not None
        else field(default=default, metadata=metadata)
    )


def _data(*below: str) -> Any:
    place = "/".join(["DATA", *below])
    return _setting(
        values.path,
        f"the folder for everything that is kept (default: {place}, where DATA is the platform's user data folder)",
        make=lambda: data_home().joinpath(*below),
    )


def _listen() -> Any:
    return _setting(values.address, "where runners, observers and clients connect", default=LISTEN_DEFAULT)


def _http() -> Any:
    return _setting(values.http_address, "where the web pages are served", default=None)


def _database() -> Any:
    return _setting(
        values.database_url,
        "the database's URL; by default SQLite in the data folder",
        default=None,
        show=values.without_password,
    )


def _dispatcher() -> Any:
    return _setting(
        values.address, "the dispatcher's address; by default the one that the data folder knows", default=None
    )


def _join() -> Any:
    return _setting(values.text, "a join token, needed once", default=None, show=lambda _value: "***")


def _name() -> Any:
    return _setting(values.name, "what people call this machine", make=name_of_this_machine)


def _interval() -> Any:
    return _setting(
        values.duration(INTERVAL_MS_MIN, INTERVAL_MS_MAX),
        "how often repositories are looked at; by default every 2s for paths and every 10s for URLs",
        default=None,
    )


def _refs() -> Any:
    return _setting(values.listed(values.ref_pattern), "which refs are tested", default=("refs/heads/*",), flag="--ref")


def _repos() -> Any:
    return _setting(values.listed(values.repository), "the repositories, paths or URLs", default=(), flag="REPO")


def _slots() -> Any:
    return _setting(
        values.whole(1, SLOTS_MAX),
        "how many attempts run at once; by default one for each core",
        make=slots_of_this_machine,
    )


def _labels() -> Any:
    return _setting(values.listed(values.label), "what jobs can ask for", default=(), flag="--label")


def _log_format() -> Any:
    return _setting(values.one_of("auto", "text", "json"), "the form of the process's own log", default="auto")


def _log_level() -> Any:
    return _setting(
        values.one_of("debug", "info", "warning", "error"), "the least important events that are logged", default="info"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """`surveil dispatcher`."""

    data: Path = _data()  # noqa: RUF009  # it makes a field
    listen: str = _listen()
    http: str | None = _http()
    database: str | None = _database()
    spawn: int = _setting(values.whole(0, SPAWN_MAX), "how many runners the dispatcher starts itself", default=0)
    log_format: str = _log_format()
    log_level: str = _log_level()
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverConfig:
    """`surveil observer`."""

    data: Path = _data("observer")  # noqa: RUF009  # it makes a field
    dispatcher: str | None = _dispatcher()
    join: str | None = _join()
    name: str = _name()
    repos: tuple[str, ...] = _repos()
    refs: tuple[str, ...] = _refs()
    interval_ms: int | None = _interval()
    log_format: str = _log_format()
    log_level: str = _log_level()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """`surveil runner`."""

    data: Path = _data("runner")  # noqa: RUF009  # it makes a field
    dispatcher: str | None = _dispatcher()
    join: str | None = _join()
    name: str = _name()
    slots: int = _slots()
    labels: tuple[str, ...] = _labels()
    log_format: str = _log_format()
    log_level: str = _log_level()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpConfig:
    """`surveil up`."""

    data: Path = _data()  # noqa: RUF009  # it makes a field
    listen: str = _listen()
    http: str | None = _http()
    database: str | None = _database()
    repos: tuple[str, ...] = _repos()
    refs: tuple[str, ...] = _refs()
    interval_ms: int | None = _interval()
    runners: int = _setting(values.whole(0, SPAWN_MAX), "how many runners are started", default=1)
    slots: int = _slots()
    labels: tuple[str, ...] = _labels()
    once: bool = _setting(values.flag, "test each repository's HEAD once and stop", default=False)
    log_format: str = _log_format()
    log_level: str = _log_level()
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Every command that asks a dispatcher: `status`, `submit`, `logs` and their like."""

    data: Path = _data()  # noqa: RUF009  # it makes a field
    dispatcher: str | None = _dispatcher()
    join: str | None = _join()


ROLES: Final[Mapping[str, type]] = MappingProxyType(
    {
        "dispatcher": DispatcherConfig,
        "observer": ObserverConfig,
        "runner": RunnerConfig,
        "up": UpConfig,
        "client": ClientConfig,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set: its key in files, its field in the record, and how its values are read and shown."""

    key: str
    field: str
    flag: str
    meaning: str
    read: Callable[[object], Any]
    show: Callable[[object], str]

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return "SURVEIL_" + self.key.upper().replace(".", "_")


def settings_of(role: type) -> dict[str, Setting]:
    """All settings of a role by key; those of the policy are called `policy.NAME`."""
    found = [_described(each) for each in fields(role) if each.metadata]
    if any(each.name == "policy" for each in fields(role)):
        found += [_of_policy(each) for each in fields(Policy)]
    return {setting.key: setting for setting in found}


def key_of(field_name: str) -> str:
    """Fields carry their unit, keys do not: their values do."""
    return field_name.removesuffix("_ms")


def shown(value: object) -> str:
    """A value in words that fit on a line."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(shown(item) for item in value)
        case _:
            return printable(str(value))


def _described(each: Field[Any]) -> Setting:
    key = key_of(each.name)
    about = each.metadata
    flag = about["flag"] or "--" + key.replace("_", "-")
    return Setting(
        key=key, field=each.name, flag=flag, meaning=about["meaning"], read=about["read"], show=about["show"]
    )


def _of_policy(each: Field[Any]) -> Setting:
    is_duration = each.name.endswith("_ms")
    read: Callable[[object], int] = values.duration(1, INTERVAL_MS_MAX) if is_duration else values.whole(1, 1_000_000)
    key = f"policy.{key_of(each.name)}"
    return Setting(
        key=key,
        field=f"policy.{each.name}",
        flag="",
        meaning="one of the numbers that the dispatcher lives by",
        read=read,
        show=str,
    )
