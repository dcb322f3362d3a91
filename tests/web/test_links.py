"""Where links lead that are made on the dispatcher's machine."""

from pathlib import Path

import pytest

from surveil.web.links import address_of, tell_address


@pytest.mark.parametrize(
    ("served", "reached"),
    [
        ("http://127.0.0.1:7380", "http://127.0.0.1:7380"),
        ("http://0.0.0.0:7380", "http://127.0.0.1:7380"),
        ("http://[::]:7380", "http://[::1]:7380"),
        ("https://ci.example.org/ci", "https://ci.example.org/ci"),
    ],
)
def test_a_link_leads_to_an_address_at_which_somebody_is(tmp_path: Path, served: str, reached: str) -> None:
    tell_address(tmp_path, served)
    assert address_of(tmp_path) == reached
