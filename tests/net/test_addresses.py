"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.errors import UsageError
from surveil.net.addresses import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:7300", Address("127.0.0.1", 7_300)),
        ("box-1.example.org:7300", Address("box-1.example.org", 7_300)),
        (" tcp://[2001:DB8::7]:1 ", Address("2001:db8::7", 1)),
        ("tcp://localhost:65535", Address("localhost", 65_535)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not an address"),
        ("box", "is not an address"),
        ("box:", "is not an address"),
        ("http://box:7300", "is not an address"),
        ("2001:db8::7:7300", "is not an address"),
        ("tcp://box:7300/path", "is not an address"),
        (":7300", "does not name a host"),
        ("bo x:7300", "does not name a host"),
        ("-box:7300", "does not name a host"),
        ("*:7300", "does not name a host"),
        ("box:65536", "ports go from 1 to 65535"),
        ("box:0", "ports go from 1 to 65535"),
        ("[box]:7300", "not an IPv6 address"),
        ("x" * 254 + ":1", "does not name a host"),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("tcp://*:0", "tcp://127.0.0.1:0"),
        ("0.0.0.0:5", "tcp://127.0.0.1:5"),
        ("[::]:5", "tcp://[::1]:5"),
        ("192.0.2.1:5", "tcp://192.0.2.1:5"),
    ],
)
def test_what_listens_everywhere_is_reached_from_here_on_loopback(text: str, here: str) -> None:
    assert str(parse_address(text, listening=True).from_here()) == here


@given(st.text(max_size=60))
def test_no_text_whatever_fails_otherwise(text: str) -> None:
    try:
        assert parse_address(str(parse_address(text))) == parse_address(text)
    except UsageError:
        return
