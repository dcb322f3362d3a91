"""What is encrypted opens with its key, for its purpose, unchanged; and in no other case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from surveil import encryption
from surveil.encryption import DecryptionError, decrypt, decrypt_with, encrypt, encrypt_to, key_id, make_key

PLAIN = b"a secret \x00\xff"


def public_of(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def test_what_was_encrypted_at_rest_opens_with_its_key_for_its_purpose() -> None:
    key = make_key()
    assert decrypt(key, encrypt(key, PLAIN, b"NAME"), b"NAME") == PLAIN
    assert encrypt(key, PLAIN, b"NAME") != encrypt(key, PLAIN, b"NAME"), "no nonce comes twice"


def test_an_envelope_opens_for_its_recipient_and_its_purpose() -> None:
    secret = make_key()
    made = encrypt_to(public_of(secret), PLAIN, b"7/deploy#1")
    assert decrypt_with(secret, made, b"7/deploy#1") == PLAIN
    assert PLAIN not in made


@pytest.mark.parametrize("make", [encrypt, lambda key, plain, to: encrypt_to(public_of(key), plain, to)])
def test_nothing_opens_with_another_key_for_another_purpose_or_changed(
    make: Callable[[bytes, bytes, bytes], bytes],
) -> None:
    key, other = make_key(), make_key()
    read = decrypt if make is encrypt else decrypt_with
    made = make(key, PLAIN, b"NAME")
    assert read(key, made, b"NAME") == PLAIN
    changed = [made[:at] + bytes([made[at] ^ 1]) + made[at + 1 :] for at in range(0, len(made), 5)]
    for with_key, encrypted, bound_to in [
        (other, made, b"NAME"), (key, made, b"OTHER"), (key, made, b""), (key, made[:-1], b"NAME"), (key, b"", b"NAME"),
        (key, made[:12], b"NAME"), *((key, one, b"NAME") for one in changed),
    ]:  # fmt: skip
        with pytest.raises(DecryptionError):
            read(with_key, encrypted, bound_to)


def test_a_keys_name_is_its_own_and_no_part_of_it() -> None:
    key = make_key()
    assert key_id(key) == key_id(key) != key_id(make_key())
    assert len(key) == encryption.KEY_BYTES
    assert bytes.fromhex(key_id(key)) not in key
