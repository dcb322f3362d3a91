"""What the fuzzers found: each is a mistake that was mended, and stays so. These need no engine."""

from __future__ import annotations

import struct
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from surveil.answer.views import step_view
from surveil.config import RunnerConfig, load
from surveil.errors import InfrastructureError, InvalidError, UsageError
from surveil.execute import files
from surveil.execute.attempts import Folder
from surveil.execute.identity import IDENTITY, read_identity
from surveil.mirror.address import parse
from surveil.mirror.objects import read_commit
from surveil.net.addresses import parse_address
from surveil.net.known import FILE_NAME, load_known
from surveil.protocol import StepReport
from surveil.screen.words import took
from surveil.sealing import sealed, unsealed
from surveil.store.log_chunks import Chunk, chunk_of
from surveil.store.log_packed import SUFFIX, PackedError, PackedReader
from tests.fuzz.notes import STATUS

NESTED = "[" * 100_000


def answers(commit: bytes, size: str = "") -> bytes:
    """What `git cat-file` says of a commit with an empty root."""
    return b"".join((
        f"{'a' * 40} commit {size or len(commit)}\n".encode(), commit, b"\n", f"{'a' * 40} tree 0\n\n".encode(),
    ))  # fmt: skip


def test_a_size_of_thousands_of_digits_is_none() -> None:
    assert read_commit(answers(b"", size="9" * 5_000), (), 10) is None


@pytest.mark.parametrize("line", [b"<" * 2_000_000, b"a <" + b">" * 2_000_000 + b"x", b" " * 2_000_000])
def test_an_author_of_nothing_but_brackets_takes_no_time_by_the_square(line: bytes) -> None:
    # It took hours, and takes milliseconds: pytest's own limit tells the two apart.
    assert read_commit(answers(b"author " + line + b"\n\nm"), (), 10) is not None


@pytest.mark.parametrize(
    ("line", "author", "at"),
    [
        (b"A <a@b> 7 +0100", "A", 7), (b"<a@b> -7 +0000", "a@b", -7), (b"A <b> <c> 7", "A", 7), (b"A", "A", 0),
        (b"A <a@b", "A <a@b", 0), (b"A a@b> 7", "A a@b> 7", 0), (b"A <a@b>", "A", 0), (b"A <a@b> x", "A", 0),
    ],
)  # fmt: skip
def test_an_author_is_read_as_before(line: bytes, author: str, at: int) -> None:
    found = read_commit(answers(b"author " + line + b"\n\nm"), (), 10)
    assert found is not None
    assert (found.author, found.authored_at_s) == (author, at)


@pytest.mark.parametrize("text", [NESTED, '{"incarnation": Infinity, "cluster": "", "name": "", "labels": []}'])
def test_an_identity_that_is_none_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / IDENTITY).write_text(text)
    with pytest.raises(InfrastructureError, match=r"cannot be read.*join again with a new token"):
        read_identity(tmp_path)


@pytest.mark.parametrize("text", [NESTED, '{"assign": [], "accepted_boot_ms": Infinity, "boot": ""}'])
def test_a_note_of_an_assignment_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / files.ACCEPTED).write_text(text)
    assert Folder.read(tmp_path, tmp_path) is None


def test_a_dispatcher_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(NESTED[:10_000])
    (tmp_path / FILE_NAME).chmod(0o600)
    with pytest.raises(InfrastructureError, match="remove it and enrol again"):
        load_known(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"outcome": []}, {"outcome": None}, {"reason": 1.5}, {"exit_code": True}, {"exit_code": 2**60},
        {"log_bytes": -1}, {"log_bytes": "7"}, {"finished_after_ms": None}, {"steps": [{"name": 1, "state": "passed"}]},
        {"steps": [{"name": "x", "state": {}}]}, {"steps": "passed"}, {"steps": [7]}, {"blameless": 1},
    ],
)  # fmt: skip
def test_a_status_whose_values_could_not_be_said_is_none(tmp_path: Path, changed: dict[str, object]) -> None:
    files.write_status(str(tmp_path), STATUS, sync=False)
    assert files.read_status(str(tmp_path)) == STATUS
    path = tmp_path / files.STATUS
    path.write_bytes(sealed(unsealed(path.read_bytes()) | changed))
    with pytest.raises(ValueError, match="is not a status"):
        files.read_status(str(tmp_path))


def test_a_status_that_is_nested_too_deep_is_none(tmp_path: Path) -> None:
    (tmp_path / files.STATUS).write_text(NESTED)
    with pytest.raises(ValueError, match="cannot be read: it is nested too deep"):
        files.read_status(str(tmp_path))


def test_a_slot_that_says_what_was_never_written_is_none() -> None:
    assert chunk_of(Chunk(0, 7, 1, 1, 1).packed()) == Chunk(0, 7, 1, 1, 1)
    assert chunk_of(Chunk(2**63, 7, 1, 1, 1).packed()) is None
    assert chunk_of(Chunk(0, 2**32 - 1, 1, 1, 1).packed()) is None


def test_a_packed_log_with_another_length_than_its_table_is_none(tmp_path: Path) -> None:
    clock = zlib.compress(b"")
    tail = struct.pack("<QQII", 14, 2**40, 0, len(clock))
    check = struct.pack("<I", zlib.crc32(tail, zlib.crc32(clock)))
    (tmp_path / f"1{SUFFIX}").write_bytes(b"surveil log 1\n" + clock + tail + check)
    with pytest.raises(PackedError, match=r"the table of 1\.logz is damaged"):
        PackedReader(tmp_path / "1")


def test_a_path_that_is_no_text_stays_one_line_in_a_complaint(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as refused:
        load(RunnerConfig, {}, environ={"SURVEIL_NAME_FILE": "/no\n\x1b[2Jwhere"}, config_file=None)
    assert str(refused.value) == ("cannot read /no��[2Jwhere, named by SURVEIL_NAME_FILE: there is no such file")


def test_a_step_that_took_longer_than_time_itself_can_be_shown_on_every_clock() -> None:
    step = StepReport(name="x", state="passed", started_after_ms=0, finished_after_ms=2**53)
    at = step_view(step, 1_800_000_000_000, 0)["finished_at"]
    assert at == "9999-01-01T00:00:00.000Z"
    datetime.fromisoformat(at).astimezone(timezone(timedelta(hours=14)))
    assert took("2026-01-01T00:00:00.000Z", at).startswith("2912")


def test_an_address_that_is_no_text_stays_one_line_in_a_refusal() -> None:
    with pytest.raises(UsageError, match=r"'tcp://��\[2J' is not an address of a dispatcher"):
        parse_address("tcp://\n\x1b[2J")


@pytest.mark.parametrize(
    ("typed", "server"),
    [("git@host:a]b", "git@host"), ("host:x]", "host"), ("git@[::1]:a]b:c", "git@[::1]"), ("host:a:b", "host")],
)
def test_a_bracket_in_a_path_is_not_the_hosts(typed: str, server: str) -> None:
    assert parse(typed, "/").server == server


def test_an_scp_like_address_is_not_taken_for_one_with_a_protocol() -> None:
    with pytest.raises(UsageError, match="begins with two slashes; write one, or begin with ssh://"):
        parse("git@example.org://\U0010ffff", "/home")
    assert parse("git@example.org:/project", "/home").server == "git@example.org"
