"""The forms in which programs write a secret: as it is, encoded, escaped, quoted.

What belongs here: making all of them. What does not: finding them in a log (`masking`).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from html import escape
from typing import Final
from urllib.parse import quote, quote_plus

PART_BYTES_MIN: Final = 4
"""A line of a secret that is shorter says nothing, and stands everywhere."""
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")
_ESCAPED: Final = re.compile(r"%[0-9A-F]{2}")


def forms_of(secret: bytes) -> set[bytes]:
    """Every form of a secret that is covered: itself and each of its lines, in all ways in which programs write them.

    What is shorter than `PART_BYTES_MIN` has none.
    """
    parts = {secret, secret.strip(), *(line.strip() for line in _LINE_ENDS.split(secret))}
    return {form for part in parts if len(part) >= PART_BYTES_MIN for form in _written(part)}


def _written(part: bytes) -> Iterator[bytes]:
    yield part
    yield part[::-1]
    yield part.hex().encode()
    yield part.hex().upper().encode()
    for offset in range(3):
        yield from _in_base64(part, offset)
    for quoted in (quote(part, safe=""), quote(part), quote_plus(part)):
        yield quoted.encode()
        yield _ESCAPED.sub(lambda match: match[0].lower(), quoted).encode()
    text = part.decode(errors="surrogateescape")
    for escaped in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        yield escaped[1:-1].encode(errors="surrogateescape")
        yield escaped[1:-1].replace("/", "\\/").encode(errors="surrogateescape")
    for shown in (repr(text)[1:-1], shlex.quote(text).strip("'"), escape(text), escape(text, quote=False)):
        yield shown.encode(errors="surrogateescape")


def _in_base64(part: bytes, offset: int) -> Iterator[bytes]:
    """What base64 makes of it so many bytes behind the begin of a group of three: the characters that depend on it
    alone, and where nothing follows, the rest with its padding.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(bytes(offset) + part)
        own = -(-8 * offset // 6)
        yield encoded[own : 8 * (offset + len(part)) // 6]
        yield encoded[own:]
