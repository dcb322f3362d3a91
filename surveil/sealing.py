"""Small files that notice when the disk changed them: JSON objects and lines with a checksum of their own.

What belongs here: the checksum, as text in and text out. What does not: writing files (`disk`), and what a person is to
do about one that is damaged. The keeper uses it, so it imports next to nothing.

What has no checksum was written by an earlier version, and is taken as it is.
"""

from __future__ import annotations

import json
from typing import Any, Final
from zlib import crc32

CHECK: Final = "check"
"""The field of an object that holds the checksum of all others."""
_MARK: Final = "@"
"""No single bit makes a digit of it, with which lines begin that have no checksum."""
_DIGITS: Final = 8


def sealed(fields: dict[str, Any]) -> bytes:
    """An object as JSON, with its checksum."""
    assert CHECK not in fields, "the name is taken"
    return _canonical(fields | {CHECK: crc32(_canonical(fields))})


def unsealed(content: bytes) -> dict[str, Any]:
    """The object in what `sealed` made, without its checksum. Raises ValueError where it is not as it was made."""
    try:
        fields = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(fields, dict):
        raise ValueError("it does not hold an object")
    if CHECK in fields and fields.pop(CHECK) != crc32(_canonical(fields)):
        raise ValueError("it was damaged on disk: its checksum does not fit")
    return fields


def sealed_line(text: str) -> str:
    """A line, without its end, with its checksum in front."""
    return f"{_MARK}{_sum(text)} {text}"


def unsealed_line(line: str) -> str:
    """The text in what `sealed_line` made. Raises ValueError where it is not as it was made."""
    if line[:1] != _MARK or line[_DIGITS + 1 : _DIGITS + 2] != " ":
        return line
    text = line[_DIGITS + 2 :]
    if line[1 : _DIGITS + 1] != _sum(text):
        raise ValueError("the line was damaged on disk: its checksum does not fit")
    return text


def _sum(text: str) -> str:
    return f"{crc32(text.encode(errors='surrogateescape')):0{_DIGITS}x}"


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
