"""Where values come from: flags, environment, configuration file; each found value with its origin.

What belongs here: finding, and complaining about names that mean nothing. What does not: what a value may be
(`values`), what happens when two places set the same (`surveil.config`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from surveil.config import ROLES
from surveil.config.roles import Setting, settings_of, settings_of_all
from surveil.core.spelling import did_you_mean, quoted
from surveil.frozen import dataclass
from surveil.openness import warn_if_open

FILE_BYTES_MAX: Final = 1024 * 1024
VALUE_FILE_BYTES_MAX: Final = 64 * 1024
ROLE_TABLE: Final = "role"
CONFIG_VARIABLE: Final = "SURVEIL_CONFIG"
_SECRETS: Final = frozenset({"database", "token", "join"})
"""Settings that let somebody in; the address of a database may have a password in it."""

NOT_SETTINGS: Final = frozenset(
    {CONFIG_VARIABLE, "SURVEIL"}
    | {f"SURVEIL_{name}" for name in ("BUILD", "JOB", "ATTEMPT", "REPO", "REF", "SHA", "EVENT", "RUNNER", "WORKSPACE")}
)
"""Variables that configure nothing: they tell a step about itself, and surveil may well be what a step runs."""
NOT_SETTINGS_PREFIXES: Final = ("SURVEIL_GIT_", "SURVEIL_TEST_")
"""Beginnings of variables by which processes of surveil, or its tests, talk to each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A value that somebody set, as it was written, and where; `typed` if that was the command line."""

    key: str
    value: object
    origin: str
    typed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that was set in vain: a sentence with its origin. `typed` says that it was on the command line."""

    sentence: str
    typed: bool = False


def from_flags(settings: Mapping[str, Setting], flags: Mapping[str, object | None]) -> Iterator[Found]:
    """Flags by key; None and an empty list are flags that nobody typed."""
    for key, value in flags.items():
        assert key in settings, f"no role has a setting {key}, yet a command passes it as a flag"
        if value is None or value in ((), []):
            continue
        flag = settings[key].flag
        origin = f"flag {flag}" if flag.startswith("-") else f"argument {flag}"
        yield Found(key=key, value=value, origin=origin, typed=True)


def from_environment(
    settings: Mapping[str, Setting], environ: Mapping[str, str], problems: list[Problem]
) -> Iterator[Found]:
    """`SURVEIL_KEY`, or `SURVEIL_KEY_FILE` for the path of a file with the value; an empty variable is none."""
    everyones = {setting.variable for setting in settings_of_all().values()}
    by_variable = {setting.variable: setting for setting in settings.values()}
    for variable in sorted(name for name, value in environ.items() if name.startswith("SURVEIL_") and value):
        plain = variable if variable in everyones else variable.removesuffix("_FILE")
        if plain not in everyones:
            if variable not in NOT_SETTINGS and not variable.startswith(NOT_SETTINGS_PREFIXES):
                hint = did_you_mean(variable, everyones)
                problems.append(Problem(sentence=f"unknown variable {quoted(variable)} in the environment; {hint}"))
            continue
        setting = by_variable.get(plain)
        if setting is None:
            continue  # Another role's.
        if plain == variable:
            yield Found(key=setting.key, value=environ[variable], origin=f"environment {variable}")
        elif environ.get(plain):
            problems.append(Problem(sentence=f"both {plain} and {variable} are set: remove one of them"))
        else:
            if setting.key in _SECRETS:
                warn_if_open(Path(environ[variable]), f"what {plain} is")
            text = _read_value(Path(environ[variable]), variable, problems)
            if text is not None:
                yield Found(key=setting.key, value=text, origin=f"file {environ[variable]}, named by {variable}")


def from_file(role_name: str, settings: Mapping[str, Setting], file: Path, problems: list[Problem]) -> Iterator[Found]:
    """Keys at the top speak to every role that has them, those under `[role.NAME]` to one, and win over the others."""
    document = _read_toml(file, problems)
    roles = document.pop(ROLE_TABLE, {})
    everyones = settings_of_all()
    if not isinstance(roles, dict):
        problems.append(Problem(sentence=f"`{ROLE_TABLE}` in {file} must be a table like `[{ROLE_TABLE}.runner]`"))
        roles = {}
    problems += [
        Problem(sentence=f"unknown role {quoted(name)} in {file}; {did_you_mean(name, ROLES)}")
        for name in roles
        if name not in ROLES
    ]
    common = dict(_flatten(document, everyones, str(file), problems))
    own: dict[str, object] = {}
    for name, role in ROLES.items():
        table = roles.get(name, {})
        if not isinstance(table, dict):
            problems.append(Problem(sentence=f"`{ROLE_TABLE}.{name}` in {file} must be a table"))
            continue
        flat = dict(_flatten(table, settings_of(role), f"{file} under [{ROLE_TABLE}.{name}]", problems))
        own = flat if name == role_name else own
    for key, value in (common | own).items():
        if key in settings:
            where = f" under [{ROLE_TABLE}.{role_name}]" if key in own else ""
            yield Found(key=key, value=value, origin=f"{file}{where}")


def _flatten(
    table: Mapping[str, Any], known: Mapping[str, Setting], where: str, problems: list[Problem]
) -> Iterator[tuple[str, object]]:
    """Keys of a table with those of `policy` as `policy.KEY`; unknown ones become problems."""
    prefixes = {key.partition(".")[0] for key in known if "." in key}
    flat: list[tuple[str, object]] = []
    for key, value in table.items():
        if key in prefixes and isinstance(value, dict):
            flat += [(f"{key}.{inner}", inner_value) for inner, inner_value in value.items()]
        else:
            flat.append((key, value))
    for key, value in flat:
        if key in known:
            yield key, value
        elif key in prefixes:
            problems.append(Problem(sentence=f"`{key}` in {where} must be a table like `[{key}]`"))
        else:
            choices: Sequence[str] = [*known, *(prefixes if "." not in key else ())]
            problems.append(Problem(sentence=f"unknown key {quoted(key)} in {where}; {did_you_mean(key, choices)}"))


def _read_toml(file: Path, problems: list[Problem]) -> dict[str, Any]:
    data = _read(file, FILE_BYTES_MAX, f"the configuration file {file}", problems)
    if data is None:
        return {}
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        problems.append(Problem(sentence=f"the configuration file {file} is not UTF-8"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is nested too deeply"
        place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)", message)
        head = f"{file}:{place[1]}:{place[2]}" if place else str(file)
        text = message.replace(place[0], "") if place else message
        problems.append(Problem(sentence=f"{head}: this is not TOML: {text}"))
    return {}


def _read_value(file: Path, variable: str, problems: list[Problem]) -> str | None:
    data = _read(file, VALUE_FILE_BYTES_MAX, f"{file}, named by {variable}", problems)
    if data is None:
        return None
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        problems.append(Problem(sentence=f"{file}, named by {variable}, is not UTF-8"))
        return None


def _read(file: Path, most_bytes: int, described: str, problems: list[Problem]) -> bytes | None:
    try:
        if not file.is_file():  # Reading a FIFO or a device would wait for ever.
            problems.append(Problem(sentence=f"cannot read {described}: there is no such file"))
            return None
        with file.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(Problem(sentence=f"cannot read {described}: {reason}"))
        return None
    if len(data) > most_bytes:
        problems.append(Problem(sentence=f"cannot read {described}: it is larger than {most_bytes} bytes"))
        return None
    return data
