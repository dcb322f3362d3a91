"""Repositories and remotes that the tests of `surveil.mirror` share."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.repositories import Repository, make_repository, serve_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit on main."""
    made = make_repository(tmp_path / "source")
    made.commit("First", hello__txt="hello\n")
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """A `git daemon` that serves everything below `tmp_path`; yields its address, without a path."""
    with serve_git(tmp_path) as address:
        yield address


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on loopback that accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]
