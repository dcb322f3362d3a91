"""What a runner remembers of itself over its starts."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from surveil.core.run_model import TOMBSTONES_MAX
from surveil.errors import InfrastructureError
from surveil.execute import identity
from surveil.execute.identity import (
    IDENTITY,
    TOMBSTONES,
    Identity,
    Tombstones,
    begin_incarnation,
    read_identity,
    write_identity,
)
from tests.platter import Platter


def test_each_start_is_another_incarnation_and_the_rest_stays(tmp_path: Path) -> None:
    write_identity(tmp_path, Identity(cluster="c", name="spare", labels=("linux",)))
    assert begin_incarnation(tmp_path).incarnation == 1
    assert begin_incarnation(tmp_path) == Identity(incarnation=2, cluster="c", name="spare", labels=("linux",))
    assert read_identity(tmp_path).incarnation == 2


def test_a_start_is_on_the_platter_before_anything_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(monkeypatch)
    begin_incarnation(tmp_path)
    assert platter.has(tmp_path / IDENTITY)
    begin_incarnation(tmp_path)
    assert platter.has(tmp_path / IDENTITY)


def test_a_tombstone_is_on_the_platter_when_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(monkeypatch)
    for attempt in (1, 2):
        # Each start puts a shorter file in the old one's place, and what is added must not go to the old one alone.
        tombstones = Tombstones(tmp_path)
        tombstones.write([("7/test", attempt), ("8/x", attempt)])
        assert platter.has(tmp_path / TOMBSTONES)
        tombstones.close()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"incarnation": "x"}', b"\xff"])
def test_a_damaged_identity_is_a_sentence_and_never_a_new_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(InfrastructureError, match=r"identity\.json") as complaint:
        begin_incarnation(tmp_path)
    assert str(complaint.value).count("cannot be read") == 1


def test_what_is_no_file_is_a_sentence_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    for name, read in (("identity.json", begin_incarnation), (TOMBSTONES, Tombstones)):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InfrastructureError, match=rf"{name} cannot be read: Not a file"):
            read(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        with pytest.raises(InfrastructureError, match=rf"{name} cannot be read: Is a directory"):
            read(tmp_path)
        (tmp_path / name).rmdir()


def test_tombstones_are_there_at_the_next_start_and_the_highest_counts(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path)
    tombstones.write([("7/test (3.12, linux)", 2), ("8/x", 1)])
    tombstones.write([("7/test (3.12, linux)", 1)])
    tombstones.close()
    again = Tombstones(tmp_path)
    assert again.known == {"7/test (3.12, linux)": 2, "8/x": 1}
    again.close()


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "tombstones").write_bytes(b"1 7/a\n2 7/b\n3")
    tombstones = Tombstones(tmp_path)
    assert tombstones.known == {"7/a": 1, "7/b": 2}
    tombstones.close()


def test_a_tombstone_that_the_disk_changed_is_no_other_one_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(identity.voice, "warning", lambda text, **_: said.append(text))
    tombstones = Tombstones(tmp_path)
    tombstones.write([("7/a", 1), ("7/b", 2), ("7/c", 3)])
    tombstones.close()
    path = tmp_path / "tombstones"
    path.write_bytes(path.read_bytes().replace(b" 2 7/b", b" 3 7/b"))
    tombstones = Tombstones(tmp_path)
    assert tombstones.known == {"7/a": 1, "7/c": 3}
    tombstones.close()
    assert said == ["tombstones were damaged on disk and are dropped"]


def test_the_oldest_tombstones_are_dropped_at_a_start(tmp_path: Path) -> None:
    lines = "".join(f"1 {number}/x\n" for number in range(1, TOMBSTONES_MAX + 11))
    (tmp_path / "tombstones").write_text(lines)
    tombstones = Tombstones(tmp_path)
    tombstones.close()
    assert len(tombstones.known) == TOMBSTONES_MAX
    assert "10/x" not in tombstones.known
    assert "11/x" in tombstones.known
    assert len((tmp_path / "tombstones").read_text().splitlines()) == TOMBSTONES_MAX


def test_a_tombstone_that_the_disk_does_not_take_leaves_no_trace(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path)
    tombstones.write([("7/a", 1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="large"):
            tombstones.write([("7/bbbbbbbbbb", 1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tombstones.close()
    assert (tmp_path / "tombstones").read_bytes() == b"@f3dc53a3 1 7/a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tombstones"]
