"""From values that somebody set somewhere to a role's record: precedence, checks, and all complaints at once.

What belongs here: the way from found values to a record. What does not: finding them (`sources`), reading one
(`values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from surveil.config import ROLES, Role, default_file
from surveil.config.roles import Setting, settings_of
from surveil.config.sources import CONFIG_VARIABLE, Found, Problem, from_environment, from_file, from_flags
from surveil.core.policy import Policy
from surveil.core.spelling import format_duration, printable
from surveil.errors import InvalidError, UsageError

DEFAULT: Final = "default"
"""The origin of a value that nobody set."""


def find_and_check(
    role: type[Role],
    flags: Mapping[str, object | None],
    environ: Mapping[str, str],
    config_file: str | Path | None,
) -> tuple[Role, dict[str, str]]:
    """What `surveil.config.load` promises: the role's record, and the origin of each key's value."""
    settings = settings_of(role)
    problems: list[Problem] = []
    found: dict[str, Found] = {}
    file = _file_of(config_file, environ)
    if file is not None:
        name = next(name for name, known in ROLES.items() if known is role)
        found |= {each.key: each for each in from_file(name, settings, file, problems)}
    found |= {each.key: each for each in from_environment(settings, environ, problems)}
    found |= {each.key: each for each in from_flags(settings, flags)}
    read = _read_all(settings, found, problems)
    _refuse(problems)
    own = {name: value for name, value in read.items() if "." not in name}
    if any("." in setting.field for setting in settings.values()):
        own["policy"] = _policy(read, found)
    return role(**own), {key: printable(found[key].origin) if key in found else DEFAULT for key in settings}


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
            problems.append(Problem(sentence=sentence, typed=each.typed))
    return read


def _refuse(problems: list[Problem]) -> None:
    if problems:
        # A path may hold anything, a line's end and what moves the cursor as well.
        message = "\n".join(printable(problem.sentence) for problem in problems)
        raise UsageError(message) if all(problem.typed for problem in problems) else InvalidError(message)


def _policy(read: Mapping[str, Any], found: Mapping[str, Found]) -> Policy:
    """The policy with what was set; numbers that are sound alone may be harmful together."""
    policy = replace(Policy(), **{name.partition(".")[2]: value for name, value in read.items() if "." in name})
    places = ", ".join(sorted({printable(each.origin) for key, each in found.items() if key.startswith("policy.")}))
    lease, heartbeat = format_duration(policy.lease_ms), format_duration(policy.heartbeat_ms)
    if policy.lease_ms < 2 * policy.heartbeat_ms:
        raise InvalidError(
            f"`policy.lease` ({lease}) must be at least two heartbeats ({heartbeat} each), "
            f"or one lost message would lose a job; set by {places}"
        )
    if policy.margin_ms >= policy.lease_ms:
        margin = format_duration(policy.margin_ms)
        raise InvalidError(f"`policy.margin` ({margin}) must be shorter than `policy.lease` ({lease}); set by {places}")
    return policy
