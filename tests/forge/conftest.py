"""What these tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forge.played import PlayedForge


@pytest.fixture
def forge() -> Iterator[PlayedForge]:
    played = PlayedForge()
    yield played
    played.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("hush-hush\n")
    return path
