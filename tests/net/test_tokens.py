"""Join tokens."""

from __future__ import annotations

import base64
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.errors import UsageError
from surveil.frozen import replace
from surveil.net.addresses import Address, parse_address
from surveil.net.tokens import hash_secret, make_token, parse_token

SERVER_KEY = "0123456789" * 4
TOKEN = make_token(Address("2001:db8::7", 7_300), SERVER_KEY)


def sealed(body: str) -> str:
    return f"{body}.{zlib.crc32(body.encode()):08x}"


def packed(*values: object) -> str:
    return sealed("svl1." + base64.urlsafe_b64encode(msgpack.packb(values)).rstrip(b"=").decode())


def test_a_token_brings_address_key_and_secret() -> None:
    assert parse_token(f"  {TOKEN}\n") == TOKEN
    assert str(TOKEN).startswith("svl1.")
    assert len(str(TOKEN).split()) == 1


def test_between_networks_the_dispatcher_is_asked_where_it_is_reached_and_is_the_same() -> None:
    elsewhere = parse_token(str(TOKEN), reached_at="tcp://ci.example.org:7300")
    assert elsewhere == replace(TOKEN, address=parse_address("tcp://ci.example.org:7300"))
    assert parse_token(str(TOKEN), reached_at=None) == TOKEN
    with pytest.raises(UsageError, match="is not an address of a dispatcher"):
        parse_token(str(TOKEN), reached_at="nowhere")


def test_the_secret_is_new_each_time_and_never_printed_by_accident() -> None:
    other = make_token(TOKEN.address, SERVER_KEY)
    assert other.secret != TOKEN.secret
    assert len(TOKEN.secret) == 32
    assert repr(TOKEN.secret) not in repr(TOKEN)
    assert hash_secret(TOKEN.secret) != hash_secret(other.secret)
    assert hash_secret(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_token_that_lost_or_changed_a_character_is_called_damaged() -> None:
    text = str(TOKEN)
    for index in range(5, len(text)):
        other = "A" if text[index] != "A" else "B"
        for damaged in (text[:index], text[:index] + text[index + 1 :], text[:index] + other + text[index + 1 :]):
            with pytest.raises(UsageError, match="damaged: copy it again"):
                parse_token(damaged)


def test_a_token_of_another_version_says_so() -> None:
    with pytest.raises(UsageError, match=r"version 2.*install the same version"):
        parse_token(sealed("svl2.AAAA"))


@pytest.mark.parametrize("text", ["", "hello", "tcp://box:7300", "SVL1.x.y"])
def test_what_is_no_token_is_told_what_one_is(text: str) -> None:
    with pytest.raises(UsageError, match=r"a token starts with 'svl1\.'"):
        parse_token(text)


@pytest.mark.parametrize(
    "text",
    [
        sealed("svl1._"),
        packed(),
        packed(1, 2, 3),
        packed("tcp://box:1", SERVER_KEY, b"short"),
        packed("tcp://box:1", "short", bytes(32)),
        packed("nowhere", SERVER_KEY, bytes(32)),
        packed("tcp://box:1", SERVER_KEY, bytes(32), 4),
    ],
)
def test_a_token_with_a_wrong_content_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_token(text)


@given(
    st.text(max_size=300)
    | st.binary(max_size=200).map(lambda raw: sealed("svl1." + base64.urlsafe_b64encode(raw).decode()))
)
def test_no_text_whatever_fails_otherwise(text: str) -> None:
    try:
        parse_token(text)
    except UsageError:
        return
