"""What was typed as flags, with what the environment and the file say, as a role's record.

What belongs here: the way from flags to a loaded record. What does not: the flags themselves (`flags`), and how sources
are weighed against each other (`surveil.config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from surveil.config import ClientConfig, Loaded, ReplayConfig, Role, load

_ASKING: Final = (ClientConfig, ReplayConfig)
"""The roles that ask a dispatcher, or the server before it, which `surveil` itself takes the flags for."""


def load_flags(role: type[Role], flags: Mapping[str, Any]) -> Loaded[Role]:
    """The role's record from what was typed, the environment and the file. Raises UsageError and InvalidError."""
    typed = {
        key: (value or None) if isinstance(value, bool) else value for key, value in flags.items() if key != "config"
    }
    return load(role, {**_server(role, typed), **typed}, config_file=flags.get("config"))


def client_settings(flags: Mapping[str, Any]) -> ClientConfig:
    """Where the dispatcher is and where our keys are, for a command that asks."""
    return load_flags(ClientConfig, flags).value


def _server(role: type[Role], typed: Mapping[str, Any]) -> dict[str, str]:
    """What was typed before the command: the server and its token.

    Raises:
        click.UsageError: the command asks none, or was told to ask elsewhere.
    """
    context = click.get_current_context(silent=True)
    before = {} if context is None else context.find_root().params
    found = {key: before[key] for key in ("server", "token") if before.get(key) is not None}
    if found and role not in _ASKING:
        raise click.UsageError("This command asks no server: leave --server and --token out.")
    if "server" in found and typed.get("dispatcher") is not None:
        raise click.UsageError("--server and --dispatcher both say where to ask: leave one of them out.")
    return found
