"""What the tests of the observer share."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.desk import PIPELINE
from tests.mirror.repositories import Repository, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "source")
    (made.path / ".surveil.yml").write_text(PIPELINE)
    made.commit("First")
    return made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The phrases of the observer's log that begin like this."""
    caplog.set_level(logging.INFO, "surveil")
    return lambda phrase: [text for record in caplog.records if (text := record.getMessage()).startswith(phrase)]
