"""Flags that are settings: made from the records of `surveil.config`, so that a flag, a variable and a key of the
file mean the same.

What belongs here: the way from a role's record to click's options. What does not: the way back (`settings`), and flags
that are no settings (`options`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import click

from surveil.cli.options import Decorated, config_flag, offered
from surveil.config import Role
from surveil.config.roles import Setting, settings_of

_METAVARS: Final[Mapping[str, str]] = {
    "data": "DIR",
    "listen": "ADDR",
    "http": "ADDR",
    "metrics": "ADDR",
    "dispatcher": "ADDR",
    "database": "URL",
    "public_url": "URL",
    "request_rate": "N",
    "trusted_proxies": "NETWORK",
    "rules": "FILE",
    "join": "TOKEN",
    "refs": "PATTERN",
    "trusted_refs": "PATTERN",
    "labels": "LABEL",
    "interval": "DURATION",
    "name": "NAME",
    "ssh_config": "FILE",
    "credentials": "FILE",
    "sandbox": "WHEN",
    "expose": "PATH",
    "memory": "SIZE",
    "engine": "ADDR",
    "log_format": "FORM",
    "log_level": "LEVEL",
}
_LISTS: Final = frozenset({"refs", "trusted_refs", "trusted_proxies", "labels", "expose"})
_SWITCHES: Final = frozenset({"once", "public_badges"})
_BEFORE: Final = frozenset({"server", "token"})
"""They are flags of `surveil` itself, and stand before the command."""
_REPOS: Final = "repos"


def role_flags(role: type[Role]) -> Callable[[Decorated], Decorated]:
    """Add a flag for each setting of the role but the policy's numbers, which belong in a file; and `--config`."""

    def decorate(command: Decorated) -> Decorated:
        command = config_flag(command)
        for key, setting in reversed(settings_of(role).items()):
            if "." in key or key in _BEFORE:
                continue
            command = _argument(command) if key == _REPOS else _option(key, setting)(command)
        return command

    return decorate


def _argument(command: Decorated) -> Decorated:
    return click.argument(_REPOS, nargs=-1, metavar="[REPO ...]", shell_complete=offered("folders"))(command)


def _option(key: str, setting: Setting) -> Callable[[Decorated], Decorated]:
    meaning = f"{setting.meaning[:1].upper()}{setting.meaning[1:]}.  [env: {setting.variable}]"
    if key in _SWITCHES:
        return click.option(setting.flag, key, is_flag=True, help=meaning)
    return click.option(
        setting.flag,
        key,
        metavar=_METAVARS.get(key, "N"),
        multiple=key in _LISTS,
        default=None,
        help=meaning,
        shell_complete=offered("folders") if key == "data" else None,
    )
