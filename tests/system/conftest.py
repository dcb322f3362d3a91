"""A place for each test with real processes, and the certainty that nothing is left in it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Place, kill


@pytest.fixture
def marking(place: Place) -> None:
    """Steps may tell their process ids and leave marks outside of their workspaces, by which a test knows what they
    did; so they have no sandbox.
    """
    place.settings["SURVEIL_SANDBOX"] = "off"


@pytest.fixture
def place() -> Iterator[Place]:
    """An empty folder; whatever a test leaves running there is ended, so that a failure leaves no process behind."""
    # Short, because paths of sockets and the like have limits; and of this test alone.
    folder = Path(tempfile.mkdtemp(prefix="surveil-test-"))
    here = Place(folder)
    try:
        yield here
    finally:
        kill(here.processes())
        shutil.rmtree(folder, ignore_errors=True)
