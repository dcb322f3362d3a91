"""A place for each test with real processes, and the certainty that nothing is left in it."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.execute.attempts import group_prefix
from surveil.execute.isolation import cgroups
from surveil.execute.keeper.confines import Confines
from surveil.places import ATTEMPTS
from tests.engines.fixtures import docker_engine, serving
from tests.system.processes import Place, kill

__all__ = ["docker_engine", "serving"]


def _remove_groups(folder: Path) -> None:
    """Remove the control groups of runners that were killed and did not come back to do so themselves."""
    places = tuple(place for _, place in cgroups._places())  # noqa: SLF001  # the very places are wanted
    limits = cgroups.Limits(0, 1, places)
    for data in (path.parent for path in folder.rglob(ATTEMPTS)):
        Confines(limits.left_behind(group_prefix(data), ())).remove()


@pytest.fixture
def marking(place: Place) -> None:
    """Steps may tell their process ids and leave marks outside of their workspaces, by which a test knows what they
    did; so they have no sandbox.
    """
    place.settings["SURVEIL_SANDBOX"] = "off"


@pytest.fixture
def place() -> Iterator[Place]:
    """An empty folder; whatever a test leaves running there is ended, so that a failure leaves no process behind."""
    with _place() as here:
        yield here


@pytest.fixture(scope="module")
def common_place() -> Iterator[Place]:
    """The same for all tests of a module that look at one installation."""
    with _place() as here:
        yield here


@contextlib.contextmanager
def _place() -> Iterator[Place]:
    # Short, because paths of sockets and the like have limits; and of nobody else.
    folder = Path(tempfile.mkdtemp(prefix="surveil-test-"))
    here = Place(folder)
    try:
        yield here
    finally:
        kill(here.processes())
        _remove_groups(folder)
        shutil.rmtree(folder, ignore_errors=True)
