"""Builds by UUID, for programs that expect one: a build's number and whose it is, in the form of a UUID.

What belongs here: the way there and back. What does not: what builds are.

Nothing has to be remembered for it: the first half follows from the installation's id, the second is the number. It
is a UUID of version 8, which RFC 9562 leaves to whoever makes it.
"""

from __future__ import annotations

import uuid
from functools import cache
from hashlib import sha256
from typing import Final

NUMBER_BITS: Final = 62
_VERSION_8: Final = 8 << 76
_VARIANT: Final = 2 << 62
_NUMBER: Final = (1 << NUMBER_BITS) - 1
_FIXED: Final = (0xF << 76) | (3 << 62)
"""The bits of a UUID that say of which kind it is."""


def uuid_of(build: int, cluster: str) -> str:
    """The UUID of a build of this installation."""
    # As `uuid.UUID` writes it, which takes several times as long, and a list has many.
    found = f"{_ours(cluster) | (build & _NUMBER):032x}"
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def build_of(text: str, cluster: str) -> int | None:
    """The number of the build that a number or a UUID names; None where it names none of this installation."""
    if text.isascii() and text.isdecimal():
        number = int(text)
        return number if 0 < number <= _NUMBER else None
    try:
        given = uuid.UUID(text)
    except ValueError:
        return None
    return given.int & _NUMBER or None if given.int & ~_NUMBER == _ours(cluster) else None


@cache
def _ours(cluster: str) -> int:
    """What all UUIDs of an installation have in common."""
    chance = int.from_bytes(sha256(b"build of " + cluster.encode()).digest()[:16]) & ~_NUMBER & ~_FIXED
    return chance | _VERSION_8 | _VARIANT
