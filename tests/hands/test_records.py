"""What an observer remembers from one start to the next."""

import json
import os
from pathlib import Path

import pytest

from surveil.core.observe_model import Record
from surveil.errors import InfrastructureError
from surveil.hands.records import Records

RECORD = Record(
    repo="https://example.org/größe",
    patterns=("main", "tags/*"),
    head_owed=False,
    refs={r"refs/heads/caf\xe9": "a" * 40, "refs/heads/<script>": "b" * 64},
)


def test_what_was_written_is_read_and_replaced_as_a_whole(tmp_path: Path) -> None:
    records = Records(tmp_path / "refs")
    assert records.read(RECORD.repo) is None
    records.write(RECORD)
    assert records.read(RECORD.repo) == RECORD
    later = Record(repo=RECORD.repo, patterns=RECORD.patterns, head_owed=True, refs={})
    records.write(later)
    assert records.read(RECORD.repo) == later
    assert len(list((tmp_path / "refs").iterdir())) == 1


def test_repositories_do_not_share_a_record(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(RECORD)
    assert records.read("https://example.org/other") is None


@pytest.mark.parametrize("cut", [0, 1, 10, 60])
def test_a_torn_record_is_put_aside_with_a_sentence(tmp_path: Path, cut: int) -> None:
    records = Records(tmp_path)
    records.write(RECORD)
    path = records.path(RECORD.repo)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InfrastructureError, match="first time"):
        records.read(RECORD.repo)
    assert records.read(RECORD.repo) is None
    assert path.with_suffix(".damaged").exists()


def ours(**fields: object) -> bytes:
    return json.dumps({"version": 1, "repo": RECORD.repo, **fields}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"3",
        b"null",
        b'"x"',
        b'{"version": 2}',
        b"[" * 100_000,
        ours(patterns=3, head_owed=True, refs={}),
        ours(patterns=["-x"], head_owed=True, refs={}),
        ours(patterns=[], head_owed=True, refs=[]),
        ours(patterns=[], head_owed=1, refs={}),
    ],
)
def test_a_record_of_the_wrong_shape_is_put_aside(tmp_path: Path, content: bytes) -> None:
    records = Records(tmp_path)
    records.path(RECORD.repo).write_bytes(content)
    with pytest.raises(InfrastructureError):
        records.read(RECORD.repo)


def test_a_pipe_in_the_place_of_a_record_is_put_aside(tmp_path: Path) -> None:
    records = Records(tmp_path)
    os.mkfifo(records.path(RECORD.repo))
    with pytest.raises(InfrastructureError, match="met as if for the first time"):
        records.read(RECORD.repo)
    assert records.read(RECORD.repo) is None


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InfrastructureError):
        Records(tmp_path / "file").write(RECORD)
