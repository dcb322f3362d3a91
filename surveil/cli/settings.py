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

ASKS_NONE: Final = "This command asks no server: leave --server and --token out."


def load_flags(role: type[Role], flags: Mapping[str, Any], refusal: str = ASKS_NONE) -> Loaded[Role]:
    """The role's record from what was typed, the environment and the file. `refusal` says what to type instead where a
    server was typed for a role that asks none. Raises UsageError and InvalidError.
    """
    typed = {
        key: (value or None) if isinstance(value, bool) else value for key, value in flags.items() if key != "config"
    }
    return load(role, {**_server(role, typed, refusal), **typed}, config_file=flags.get("config"))


def client_settings(flags: Mapping[str, Any]) -> ClientConfig:
    """Where the dispatcher is and where our keys are, for a command that asks."""
    return load_flags(ClientConfig, flags).value


def own_settings(flags: Mapping[str, Any], refusal: str = ASKS_NONE) -> ClientConfig:
    """The same for a command that only looks into the data folder. Raises click.UsageError where a server was typed."""
    refuse_server(refusal)
    return client_settings(flags)


def refuse_server(refusal: str) -> None:
    """Raise click.UsageError with this sentence where a server was typed."""
    if _typed_before():
        raise click.UsageError(refusal)


def _typed_before() -> dict[str, str]:
    """What was typed before the command: the server and its token."""
    context = click.get_current_context(silent=True)
    before = {} if context is None else context.find_root().params
    return {key: before[key] for key in ("server", "token") if before.get(key) is not None}


def _server(role: type[Role], typed: Mapping[str, Any], refusal: str) -> dict[str, str]:
    """Where to ask, as it was typed before the command.

    Raises:
        click.UsageError: the command asks none, or was told to ask elsewhere.
    """
    found = _typed_before()
    if role not in _ASKING:
        refuse_server(refusal)
    if "server" in found and typed.get("dispatcher") is not None:
        raise click.UsageError("--server and --dispatcher both say where to ask: leave one of them out.")
    return found
