"""What was typed as flags, with what the environment and the file say, as a role's record.

What belongs here: the way from flags to a loaded record. What does not: the flags themselves (`flags`), and how sources
are weighed against each other (`surveil.config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surveil.config import ClientConfig, Loaded, Role, load


def load_flags(role: type[Role], flags: Mapping[str, Any]) -> Loaded[Role]:
    """The role's record from what was typed, the environment and the file. Raises UsageError and InvalidError."""
    typed = {
        key: (value or None) if isinstance(value, bool) else value for key, value in flags.items() if key != "config"
    }
    return load(role, typed, config_file=flags.get("config"))


def client_settings(flags: Mapping[str, Any]) -> ClientConfig:
    """Where the dispatcher is and where our keys are, for a command that asks."""
    return load_flags(ClientConfig, flags).value
