"""`dispatcher.json`."""

from __future__ import annotations

from pathlib import Path

import pytest

from surveil.errors import InfrastructureError, NotFoundError
from surveil.net.addresses import Address
from surveil.net.keys import make_keys, write_privately
from surveil.net.known import FILE_NAME, KnownDispatcher, load_known

KNOWN = KnownDispatcher(address=Address("::1", 7_300), server_key=make_keys().public, cluster="c", pid=42)


@pytest.mark.parametrize("known", [KNOWN, KnownDispatcher(address=KNOWN.address, server_key="k", cluster="c")])
def test_a_dispatcher_is_known_again(tmp_path: Path, known: KnownDispatcher) -> None:
    KNOWN.save(tmp_path)
    known.save(tmp_path)
    assert load_known(tmp_path) == known


def test_a_folder_that_knows_none_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="surveil up"):
        load_known(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"address": 1, "server_key": "k", "cluster": "c"}',
        b'{"address": "nowhere", "server_key": "k", "cluster": "c"}',
        b'{"address": "tcp://box:1", "server_key": "k", "cluster": "c", "pid": "x"}',
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    write_privately(tmp_path / FILE_NAME, content, replace=True)
    with pytest.raises(InfrastructureError, match=r"dispatcher\.json does not say .*: remove it and enrol again"):
        load_known(tmp_path)
