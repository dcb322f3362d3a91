"""What each key means: its words for people, how its value is read and shown.

What belongs here: the settings behind the fields of the roles' records; a field has the same meaning in every role.
What does not: the records and their defaults (`surveil.config`), where values come from (`sources`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from surveil.config import ROLES, RUNNERS_MAX, SLOTS_MAX, values
from surveil.core.policy import Policy
from surveil.core.spelling import format_duration, printable
from surveil.frozen import dataclass

INTERVAL_MS_MIN: Final = 100
INTERVAL_MS_MAX: Final = 86_400_000
PROCESSES_MAX: Final = 4_194_304
"""As many as the kernel ever allows."""
POLICY: Final = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set: its key in files, its variable in the environment, its field in the record, and how
    its values are read and shown.
    """

    key: str
    variable: str
    field: str
    flag: str
    meaning: str
    read: Callable[[object], Any]
    show: Callable[[object], str]

    def shown_in(self, record: object) -> str:
        """Its value in a role's record, in words that fit on a line; secrets are covered."""
        value = record
        for name in self.field.split("."):
            value = getattr(value, name)
        return "" if value is None else self.show(value)


@dataclass(frozen=True, slots=True)
class _About:
    """What is to be known about a field, whichever role has it."""

    read: Callable[[object], Any]
    meaning: str
    flag: str = ""
    show: Callable[[object], str] | None = None


_ABOUT: Final[Mapping[str, _About]] = {
    "data": _About(
        values.path,
        "the folder for everything that is kept; by default the platform's user data folder, "
        "and in it `runner` or `observer` for those",
    ),
    "listen": _About(values.address, "where runners, observers and clients connect"),
    "http": _About(
        values.http_address,
        "where the web pages are served; `off` for nowhere; by default 127.0.0.1:7380, and for `up` another port where "
        "that is taken",
    ),
    "metrics": _About(
        values.listening,
        "where the numbers for Prometheus are served without a pass, like `127.0.0.1:7390`; by default `/metrics` of "
        "the pages gives them to whoever may read",
    ),
    "public_badges": _About(
        values.flag,
        "whether everybody may see the badges, which say how a branch stands; by default whoever may read",
    ),
    "rules": _About(
        values.file,
        "the file that says who is told what of builds; by default `notify.toml` in the data folder",
    ),
    "public_url": _About(
        values.public_url,
        "where people reach the web pages, like `https://ci.example.org` or `https://example.org/ci`; by default "
        "nothing links to them, and they are below no prefix",
    ),
    "trusted_proxies": _About(
        values.listed(values.proxy),
        "the address or network of a reverse proxy that may say for whom it asks, like `127.0.0.1`",
        flag="--trusted-proxy",
    ),
    "request_rate": _About(
        values.whole(0, 100_000),
        "how often a second each session or token may ask over HTTP, for longer than 20 s; 0 for as often as it likes",
    ),
    "database": _About(
        values.database_url,
        "the database's URL; by default SQLite in the data folder",
        show=values.without_password,
    ),
    "dispatcher": _About(values.address, "the dispatcher's address; by default the one that the data folder knows"),
    "server": _About(
        values.server,
        "the address of the web pages, like `https://ci.example.org`, over which the dispatcher is asked instead",
    ),
    "token": _About(
        values.text, "the token that the server is shown, of `surveil login --token`", show=lambda _value: "***"
    ),
    "join": _About(values.text, "a join token, needed once", show=lambda _value: "***"),
    "name": _About(values.name, "what people call this machine; by default its host name"),
    "interval_ms": _About(
        values.duration(INTERVAL_MS_MIN, INTERVAL_MS_MAX),
        "how often repositories are looked at; by default every 2s for paths and every 10s for URLs",
    ),
    "refs": _About(
        values.listed(values.ref_pattern),
        "which refs are tested, like `main`, `tags/v*`, `!wip/*` or `HEAD`; by default all branches",
        flag="--ref",
    ),
    "trusted_refs": _About(
        values.listed(values.ref_pattern),
        "refs that are trusted beside branches and tags, like `refs/pull/*` where only your team opens pull requests; "
        "`!PATTERN` distrusts; observers and their dispatcher need the same",
        flag="--trusted-ref",
    ),
    "repos": _About(values.listed(values.repository), "the repositories, paths or URLs", flag="REPO"),
    "slots": _About(values.whole(1, SLOTS_MAX), "how many attempts run at once; by default one for each core"),
    "labels": _About(values.listed(values.label), "what jobs can ask for", flag="--label"),
    "sandbox": _About(
        values.one_of("required", "auto", "off"),
        "whether steps run in a sandbox: `required`, `off`, or `auto`, which is where there can be one",
    ),
    "expose": _About(
        values.listed(values.path),
        "a file or folder of this machine that sandboxed steps may read as well",
    ),
    "vault": _About(
        values.vault_address,
        "the address of a Vault or OpenBao from which secrets may be read, like `https://vault.example.org:8200`",
    ),
    "vault_token": _About(values.file, "the file with the token that the Vault is asked with"),
    "vault_mount": _About(values.text, "where the Vault's key-value engine is mounted"),
    "blobs": _About(
        values.bucket,
        "the bucket in which artifacts and caches are kept, like `s3://BUCKET/PREFIX`; by default the data folder",
    ),
    "blobs_endpoint": _About(
        values.endpoint,
        "the address of the bucket's server, like `https://s3.example.org`; by default Amazon's",
    ),
    "blobs_region": _About(values.text, "the bucket's region; by default that of AWS_REGION, or `us-east-1`"),
    "blobs_credentials": _About(
        values.file,
        "the file with the bucket's keys, in the form of `~/.aws/credentials`; by default AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY in the environment, or what the machine's own role gives",
    ),
    "artifact_space_bytes": _About(
        values.size,
        "how much room artifacts may take, like `50GiB`, before the oldest go; 0 is as much as there is",
        show=values.size_shown,
    ),
    "cache_space_bytes": _About(
        values.size,
        "how much room caches may take, like `10GiB`, before those go that were not used for longest; 0 is as much as "
        "there is",
        show=values.size_shown,
    ),
    "memory_bytes": _About(
        values.size, "how much memory an attempt may take, like `2GiB`; 0 is no limit", show=values.size_shown
    ),
    "processes": _About(
        values.whole(0, PROCESSES_MAX), "how many processes and threads an attempt may have; 0 is no limit"
    ),
    "engine": _About(
        values.engine,
        "the engine for jobs with an image: a socket like `unix:///run/docker.sock`, `off`, or `auto`, which is "
        "Docker's or Podman's where one answers",
    ),
    "spawn": _About(values.whole(0, RUNNERS_MAX), "how many runners the dispatcher starts itself"),
    "runners": _About(values.whole(0, RUNNERS_MAX), "how many runners are started"),
    "once": _About(values.flag, "test each repository's HEAD once and stop"),
    "ssh_config": _About(
        values.file,
        "a configuration of ssh that stands for `~/.ssh/config`: keys, known hosts, jumps",
    ),
    "credentials": _About(
        values.file,
        "a file with a line like `https://USER:TOKEN@HOST/PATH` for each place that asks for one",
    ),
    "log_format": _About(values.one_of("auto", "text", "json"), "the form of the process's own log"),
    "log_level": _About(
        values.one_of("debug", "info", "warning", "error"), "the least important events that are logged"
    ),
}


def settings_of(role: type) -> dict[str, Setting]:
    """All settings of a role by key, in the order of its record; those of the policy are called `policy.NAME`."""
    names = [each.name for each in fields(role)]
    found = [_setting(name) for name in names if name != POLICY]
    if POLICY in names:
        found += [_setting_of_policy(each.name) for each in fields(Policy)]
    return {setting.key: setting for setting in found}


@cache
def settings_of_all() -> Mapping[str, Setting]:
    """The settings of all roles by key. One that several have means the same in each."""
    return MappingProxyType({key: setting for role in ROLES.values() for key, setting in settings_of(role).items()})


def key_of(field_name: str) -> str:
    """Fields carry their unit, keys do not: their values do."""
    return field_name.removesuffix("_ms").removesuffix("_bytes")


def shown(value: object) -> str:
    """A value in words that fit on a line."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(shown(item) for item in value)
        case _:
            return printable(str(value))


def _variable_of(key: str) -> str:
    return "SURVEIL_" + key.upper().replace(".", "_")


def _duration_shown(value: object) -> str:
    return format_duration(value) if isinstance(value, int) else shown(value)


@cache
def _setting(name: str) -> Setting:
    about, key = _ABOUT[name], key_of(name)
    usual = _duration_shown if name.endswith("_ms") else shown
    return Setting(
        key=key,
        variable=_variable_of(key),
        field=name,
        flag=about.flag or "--" + key.replace("_", "-"),
        meaning=about.meaning,
        read=about.read,
        show=about.show or usual,
    )


@cache
def _setting_of_policy(name: str) -> Setting:
    is_duration = name.endswith("_ms")
    key = f"{POLICY}.{key_of(name)}"
    return Setting(
        key=key,
        variable=_variable_of(key),
        field=f"{POLICY}.{name}",
        flag="",
        meaning="one of the numbers that the dispatcher lives by",
        read=values.duration(1, INTERVAL_MS_MAX) if is_duration else values.whole(1, 1_000_000),
        show=_duration_shown if is_duration else shown,
    )
