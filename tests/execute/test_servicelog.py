"""The log of a service: its last words within its limit, and nothing that is secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surveil.execute.keeper.masking import Cover, Forms
from surveil.execute.keeper.servicelog import ServiceLog

Say = Callable[[bytes], None]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def put(log: ServiceLog) -> bytes:
    found: list[bytes] = []
    log.put(found.append)
    return b"".join(found)


def said(log: ServiceLog, pipe: tuple[int, int], *pieces: bytes) -> ServiceLog:
    for piece in pieces:
        os.write(pipe[1], piece)
        assert log.intake.read(pipe[0])
    log.close()
    return log


def test_all_of_a_short_log_is_kept_and_its_files_are_gone_with_it(tmp_path: Path, pipe: tuple[int, int]) -> None:
    log = said(ServiceLog(str(tmp_path / "log")), pipe, b"one\n", b"two\n")
    assert log.remarks() == []
    assert put(log) == b"one\ntwo\n"
    assert list(tmp_path.iterdir()) == []
    assert put(log) == b""


def test_of_a_long_log_the_end_is_kept_and_it_is_said_how_much_is_missing(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    pieces = [b"%05d" % number for number in range(20)]
    log = said(ServiceLog(str(tmp_path / "log"), bytes_max=20), pipe, *pieces)
    kept = put(log)
    assert b"".join(pieces).endswith(kept)
    assert 10 <= len(kept) <= 20
    assert log.remarks() == [f"the first {100 - len(kept)} bytes of this service's log were dropped"]


def test_what_is_secret_reaches_no_disk_in_whatever_pieces_it_comes(tmp_path: Path, pipe: tuple[int, int]) -> None:
    cover = Cover(Forms([b"hunter2-hunter2"]), lambda: 0)
    log = said(ServiceLog(str(tmp_path / "log"), cover), pipe, b"it is hunter2-", b"hunter2.\n")
    assert b"hunter2" not in (tmp_path / "log").read_bytes()
    assert log.last_words() == "it is ***."
    assert put(log) == b"it is ***.\n"


def test_a_disk_that_takes_no_more_ends_the_log_and_nothing_else(tmp_path: Path, pipe: tuple[int, int]) -> None:
    log = said(ServiceLog(str(tmp_path / "no" / "log")), pipe, b"one\n", b"two\n")
    assert log.remarks() == ["the rest of this service's log was not kept: No such file or directory"]
    assert log.last_words() == "one / two"
    assert put(log) == b""


def test_its_last_words_are_few_whatever_it_printed(tmp_path: Path, pipe: tuple[int, int]) -> None:
    log = said(ServiceLog(str(tmp_path / "log")), pipe, b"a\n\n  b  c\n\xff\nd", b"\n\n")
    assert log.last_words() == "b c / \ufffd / d"
    log = said(ServiceLog(str(tmp_path / "log")), pipe, b"x" * 10_000)
    assert log.last_words() == "x" * 300
