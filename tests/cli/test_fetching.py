"""An artifact on its way to a person's machine, from a dispatcher that means harm."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from surveil.cli.blocking import Dispatcher
from surveil.cli.fetching import fetch
from surveil.errors import InfrastructureError


class Hostile:
    """A dispatcher that has this archive under the digest that it has."""

    def __init__(self, *names: str) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = 4
                archive.addfile(entry, io.BytesIO(b"harm"))
        self.archive = made.getvalue()

    def about(self) -> dict[str, Any]:
        """What it lists."""
        digest = hashlib.sha256(self.archive).hexdigest()
        return {"job": "1/build", "attempt": 1, "name": "files", "sha256": digest, "size": len(self.archive)}

    def follow_artifact(self, about: Mapping[str, Any], at: int, size: int) -> Iterator[bytes]:
        """Send it."""
        yield self.archive[at:size]


def test_an_archive_that_leads_out_of_its_folder_is_refused_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    hostile = Hostile("good", "../../escaped")
    with pytest.raises(InfrastructureError) as refused:
        fetch(cast("Dispatcher", hostile), hostile.about(), tmp_path / "to" / "build" / "files")
    said = str(refused.value)
    assert said.startswith("The artifact `files` of 1/build is not unpacked: ")
    assert "../../escaped" in said
    assert said.count("\n") == 0
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    # The archive itself stays, for whoever wants to look at it.
    assert left == [f"to/build/.{hostile.about()['sha256'][:32]}.part"]


def test_what_is_sound_comes_from_the_same_dispatcher(tmp_path: Path) -> None:
    hostile = Hostile("good")
    fetch(cast("Dispatcher", hostile), hostile.about(), tmp_path / "files")
    assert (tmp_path / "files" / "good").read_text() == "harm"
