"""Join tokens: one string that brings a new machine to its dispatcher.

What belongs here: making and reading the string, and the hash under which a dispatcher knows a secret. What does not:
which tokens are valid (store), and the talk that uses one (enrolment).

A token is `svl1.`, base64url of a msgpack list (address, the dispatcher's public key, a secret of 32 random bytes), a
dot, and the CRC-32 of all before that dot in hexadecimal. The CRC is there for people who copy a part of the string;
the secret is what protects.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from dataclasses import field
from typing import Final

import msgpack

from surveil.errors import UsageError
from surveil.frozen import dataclass, replace
from surveil.net.addresses import Address, parse_address

SECRET_BYTES: Final = 32
TOKEN_CHARACTERS_MAX: Final = 1024

_PREFIX: Final = "svl1"
_SHAPE: Final = re.compile(r"(?P<body>svl(?P<version>[0-9]+)\.(?P<payload>[A-Za-z0-9_-]+))\.(?P<crc>[0-9a-f]{8})")
_KEY: Final = re.compile(r"[!-~]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """Where the dispatcher is, how to know it, and the secret that it will take once. The secret is never shown by
    `repr`.
    """

    address: Address
    server_key: str
    secret: bytes = field(repr=False)

    def __str__(self) -> str:
        """The string that people copy; it is a secret."""
        payload = msgpack.packb([str(self.address), self.server_key, self.secret])
        body = f"{_PREFIX}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}"
        return f"{body}.{zlib.crc32(body.encode()):08x}"


def make_token(address: Address, server_key: str) -> JoinToken:
    """A token with a new secret."""
    return JoinToken(address=address, server_key=server_key, secret=secrets.token_bytes(SECRET_BYTES))


def hash_secret(secret: bytes) -> str:
    """SHA-256 in hexadecimal: all that a database ever holds of a secret. 256 random bits need no slow hash."""
    return hashlib.sha256(secret).hexdigest()


def parse_token(text: str, *, reached_at: str | None = None) -> JoinToken:
    """Read a token as it was copied; blanks and line ends around it do not matter. With `reached_at` the dispatcher is
    asked there, as between networks it has another address than its own machine knows; who it has to be is the same.

    Raises:
        UsageError: it is no token, a damaged one, or one of another version; the sentence says what to do.
    """
    shortened = text.strip()
    if not shortened.startswith("svl"):
        raise UsageError("this is not a join token: a token starts with 'svl1.', and 'surveil token create' makes one")
    match = _SHAPE.fullmatch(shortened) if len(shortened) <= TOKEN_CHARACTERS_MAX else None
    if match is None or int(match["crc"], 16) != zlib.crc32(match["body"].encode()):
        raise UsageError("the join token is damaged: copy it again as a whole, from 'svl1.' to its last character")
    if match["version"] != _PREFIX.removeprefix("svl"):
        raise UsageError(
            f"the join token is of version {match['version']}, and this surveil reads version 1: "
            "install the same version of surveil here as on the dispatcher's machine"
        )
    found = _from_payload(match["payload"])
    return found if reached_at is None else replace(found, address=parse_address(reached_at))


def _from_payload(payload: str) -> JoinToken:
    try:
        address, server_key, secret = msgpack.unpackb(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, TypeError, binascii.Error, msgpack.exceptions.UnpackException) as error:
        raise UsageError("the join token cannot be read: make a new one with 'surveil token create'") from error
    sound = isinstance(address, str) and isinstance(server_key, str) and isinstance(secret, bytes)
    if not sound or not _KEY.fullmatch(server_key) or len(secret) != SECRET_BYTES:
        raise UsageError("the join token does not hold what a token must: make a new one with 'surveil token create'")
    return JoinToken(address=parse_address(address), server_key=server_key, secret=secret)
