"""Envelopes: the secrets of one attempt, encrypted to the key of the one runner that is to run it.

What belongs here: closing one at the dispatcher, opening it at the runner. What does not: what goes in (`entrusting`),
and what becomes of it (`execute.keeper.entrusted`).

A runner notes its orders on disk, so that its next start goes on with them, envelopes with them: only its key opens
them. An envelope is bound to its attempt; in the order for another one it does not open.
"""

from __future__ import annotations

import base64
import binascii

from surveil.codec import pack_row
from surveil.encryption import DecryptionError, decrypt_with, encrypt_to
from surveil.errors import InfrastructureError
from surveil.execute.keeper.entrusted import NOTHING, Entrusted, pack, unpack
from surveil.net.keys import KeyPair, raw_key
from surveil.protocol import Assign


def closed(entrusted: Entrusted, order: Assign, runner: str) -> str:
    """The envelope with these secrets for the runner with this key."""
    return base64.b64encode(encrypt_to(raw_key(runner), pack(entrusted), _bound_to(order, runner))).decode()


def opened(order: Assign, keys: KeyPair) -> Entrusted:
    """What is in the envelope of an order; nothing where there is none and none belongs there.

    Raises:
        InfrastructureError: it is not for this runner, or not for this attempt; or it is missing.
    """
    if not order.envelope:
        if order.spec.secrets and order.trusted:
            raise InfrastructureError("the dispatcher sent the job without the secrets that it asks for")
        return NOTHING
    try:
        encrypted = base64.b64decode(order.envelope, validate=True)
        return unpack(decrypt_with(raw_key(keys.secret), encrypted, _bound_to(order, keys.public)))
    except (DecryptionError, ValueError, binascii.Error) as error:
        raise InfrastructureError(f"the secrets of the attempt cannot be opened: {error}") from error


def _bound_to(order: Assign, runner: str) -> bytes:
    return b"surveil envelope\0" + pack_row((order.job, order.attempt, runner))
