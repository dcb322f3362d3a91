"""Encrypting what is secret: at rest with a key of one's own, and on its way to somebody whose public key is known.

What belongs here: the library's primitives, chosen once. What does not: where keys are kept (`net.keys`,
`hands.safe_keys`) and what is secret. Checksums against a disk's mistakes are something else (`sealing`).

At rest: AES-256-GCM with a random nonce. Whatever a secret is bound to (its name, its scope) is associated data: a
ciphertext that somebody moved to another row opens nowhere. Under way: HPKE (RFC 9180) with X25519, HKDF-SHA256 and
AES-256-GCM, to the recipient's CURVE key, which is an X25519 key; what an envelope is for is its `info`.

The library is imported where it is used: most processes never need it, and it takes 20 ms.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""As GCM wants it; random ones meet after 2**32 uses of one key, which no installation comes near."""
_ID_BYTES: Final = 8


class DecryptionError(Exception):
    """It was not encrypted with this key, or for this purpose, or it was changed since."""


def make_key() -> bytes:
    """A new key."""
    return os.urandom(KEY_BYTES)


def key_id(key: bytes) -> str:
    """A name for a key that tells nothing about it."""
    return sha256(b"surveil key id\0" + key).digest()[:_ID_BYTES].hex()


def encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Encrypt `plain`, bound to what its reader must say as well."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # See above.

    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def decrypt(key: bytes, encrypted: bytes, bound_to: bytes) -> bytes:
    """Read what `encrypt` made.

    Raises:
        DecryptionError: it is not what was encrypted, or not for this.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # See above.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        return AESGCM(key).decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise DecryptionError("it does not open with this key for this purpose") from error


def encrypt_to(public: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Encrypt `plain` so that only the holder of the secret half of this X25519 key can read it."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415  # See above.

    return _suite().encrypt(plain, X25519PublicKey.from_public_bytes(public), info=bound_to)


def decrypt_with(secret: bytes, encrypted: bytes, bound_to: bytes) -> bytes:
    """Read what `encrypt_to` made for the public half of this key.

    Raises:
        DecryptionError: it was made for another key or another purpose, or changed since.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # See above.
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    try:
        return _suite().decrypt(encrypted, X25519PrivateKey.from_private_bytes(secret), info=bound_to)
    except (InvalidTag, ValueError) as error:
        raise DecryptionError("it does not open with this key for this purpose") from error


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415  # See above.

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
