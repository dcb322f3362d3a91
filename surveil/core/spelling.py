"""How people write values and names: durations, sizes, near misses, and texts of strangers inside a sentence.

What belongs here: reading and writing of small human notations that both files and configuration use.
What does not: anything that knows a file format, a key's name or where a value came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

DURATION_MS_MAX: Final = 366 * 86_400_000
"""A year: whoever writes more meant something else."""
QUOTED_CHARACTERS_MAX: Final = 60
_KNOWN_SHOWN_MAX: Final = 20

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(?:[0-9]{1,12}(?:ms|[smhd]))+")
_PART: Final = re.compile(r"([0-9]{1,12})(ms|[smhd])")


SIZE_MIN: Final = 16 * 1024**2
"""Less memory than this runs no shell script of any use; whoever types it forgot the unit."""
SIZE_MAX: Final = 1024**5
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(b|kib?|mib?|gib?|tib?|)", re.IGNORECASE)
_UNITS: Final = {
    "": 1, "b": 1, **{unit + end: 1024**power for power, unit in enumerate("kmgt", 1) for end in ("", "i", "ib")}
}  # fmt: skip


def parse_size(text: str) -> int:
    """Read `512MiB`, `2GiB` or `2g` as bytes; 0 is none.

    Raises:
        ValueError: the text is no size, or one that nobody means; it says so in a clause.
    """
    match = _SIZE.fullmatch(text)
    found = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else -1
    if not (found == 0 or SIZE_MIN <= found <= SIZE_MAX):
        raise ValueError(f"{quoted(text)} is not a size like `512MiB` or `2GiB`, from 16MiB on")
    return found


def format_size(count: int) -> str:
    """Write bytes as `parse_size` reads them, in the largest unit that divides them."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if count and count % _UNITS[unit.lower()] == 0), "")
    return f"{count // _UNITS[unit.lower()]}{unit}"


def parse_duration(text: str) -> int:
    """Read `90s`, `10m`, `2h`, `1h30m`, `500ms` or `7d` as milliseconds.

    Raises:
        ValueError: the text is no duration, or longer than `DURATION_MS_MAX`; it says so in a clause.
    """
    if len(text) > QUOTED_CHARACTERS_MAX or _DURATION.fullmatch(text) is None:
        raise ValueError(f"{quoted(text)} is not a duration: write a number and a unit, like `90s`, `10m` or `2h`")
    total_ms = sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))
    if total_ms > DURATION_MS_MAX:
        raise ValueError(f"{quoted(text)} is longer than a year")
    return total_ms


def format_duration(duration_ms: int) -> str:
    """Write milliseconds as `parse_duration` reads them, in the largest unit that divides them."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % _UNITS_MS[unit] == 0:
            return f"{duration_ms // _UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms" if duration_ms else "0s"


def closest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Find the known word that `word` most likely was meant to be, or None where none is near."""
    if len(word) > QUOTED_CHARACTERS_MAX:
        return None
    from difflib import get_close_matches  # noqa: PLC0415  # only mistakes pay for this import

    by_plain = {name.lower().replace("-", "_"): name for name in known}
    near = get_close_matches(word.lower().replace("-", "_"), list(by_plain), n=1, cutoff=likeness)
    return by_plain[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Make the hint for an unknown word: the near miss, else the words that exist."""
    names = sorted(known)
    near = closest(word, names)
    if near is not None:
        return f"did you mean `{near}`?"
    shown = ", ".join(f"`{printable(name)}`" for name in names[:_KNOWN_SHOWN_MAX])
    return f"known are {shown}{' and others' if len(names) > _KNOWN_SHOWN_MAX else ''}" if names else ""


def printable(text: str) -> str:
    """Replace controls and bidirectional marks, which could move a cursor or turn a line around, by `�`."""
    return (
        text
        if text.isprintable()
        else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    )


def quoted(text: str) -> str:
    """Show a stranger's text inside a sentence: one line, inert, at most `QUOTED_CHARACTERS_MAX` long."""
    short = text if len(text) <= QUOTED_CHARACTERS_MAX else text[: QUOTED_CHARACTERS_MAX - 1] + "…"
    return f"`{printable(short)}`"
