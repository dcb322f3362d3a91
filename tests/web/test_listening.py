"""Where the pages are served, and what is said where they cannot be."""

import socket

import pytest

from surveil.errors import InfrastructureError
from surveil.web.serving import listening


def test_an_address_that_is_taken_is_said_in_one_sentence_with_what_to_type() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InfrastructureError) as refused:
            listening(address)
    said = f"No page can be served at {address}: Address already in use; choose another address with --http."
    assert str(refused.value) == said
