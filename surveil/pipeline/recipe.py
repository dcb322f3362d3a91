"""What a rule of zero configuration comes to, and careful looks into files of which nothing can be assumed.

What belongs here: the shape of a rule's result, and access to TOML that never raises. What does not: rules.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from surveil.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step to write down: a name, and the lines of its script, none of which holds a line end."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to run, and in `rule` why: the file that was recognised and what is done with it."""

    rule: str
    steps: tuple[Step, ...]


def toml_table(text: str | None) -> Mapping[str, Any] | None:
    """Read TOML; None where it cannot be read, for the tool whose file it is explains that better."""
    if text is None:
        return None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def table_at(data: object, *path: str) -> Mapping[str, Any]:
    """The table at a path of keys; an empty one where there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def texts_in(value: object) -> list[str]:
    """The texts of a list, without whatever else is in it; none where it is no list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
