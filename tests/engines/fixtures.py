"""The engine of a test session: started when the first test wants it, gone after the last.

What belongs here: fixtures, for the `conftest.py` of whoever needs an engine. Each worker has an engine of its own; it
stands within a second.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import docker, podman, servers
from tests.engines.docker import Docker
from tests.engines.images import make_images
from tests.engines.servers import make_servers


@contextlib.contextmanager
def own_engine(kind: type[Docker] = Docker, *words: str) -> Iterator[Docker]:
    """A real engine with all images, started with these further words, for whoever does something to it."""
    if why := (docker if kind is Docker else podman).missing():
        pytest.skip(why)
    engine = kind(Path(tempfile.mkdtemp(prefix="surveil-docker-", dir="/tmp")), *words)
    try:
        engine.start()
        with contextlib.closing(engine.api()) as api:
            make_images(api)
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Docker]:
    """A real engine with all images, which nobody hurts."""
    with own_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def serving(docker_engine: Docker, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The same, with images of servers."""
    add_servers(docker_engine, tmp_path_factory.mktemp("servers"))
    return docker_engine


def add_servers(engine: Docker, scratch: Path) -> None:
    """Give an engine images of servers, made in the folder `scratch`."""
    if why := servers.missing():
        pytest.skip(why)
    with contextlib.closing(engine.api()) as api:
        make_servers(api, scratch)
