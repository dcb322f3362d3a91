"""What steps are called that their author gave no name.

What belongs here: from a script to a name. What does not: the script itself (`pipeline`, and `outputs` once its needs
have ended). Pure.
"""

from __future__ import annotations

from typing import Final

NAME_CHARACTERS_MAX: Final = 80


def cut(name: str) -> str:
    """As much of a step's name as it may have."""
    return name if len(name) <= NAME_CHARACTERS_MAX else name[: NAME_CHARACTERS_MAX - 1] + "…"


def name_from(script: str) -> str:
    """The first line that says something: neither empty nor a comment."""
    comment = ""
    for line in script.splitlines():
        if told := line.strip():
            if not told.startswith("#"):
                return cut(told)
            comment = comment or told
    return cut(comment or "script")
