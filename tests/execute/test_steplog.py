"""A step's output: all of it or its beginning, and a word about what is missing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from surveil.execute.keeper.intake import PIPE_BYTES, READ_BYTES
from surveil.execute.keeper.steplog import StepLog


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def log_of(bytes_max: int) -> tuple[StepLog, list[bytes], list[str]]:
    kept: list[bytes] = []
    remarks: list[str] = []
    return StepLog(kept.append, bytes_max, remarks.append), kept, remarks


def test_all_that_a_full_pipe_holds_is_taken_when_its_writers_are_gone(pipe: tuple[int, int]) -> None:
    log, kept, _ = log_of(1 << 30)
    written = 0
    while written < PIPE_BYTES:
        written += os.write(pipe[1], bytes(PIPE_BYTES - written))
    assert written > READ_BYTES
    log.intake.drain(pipe[0])
    assert b"".join(kept) == bytes(written)


def remarked(bytes_max: int, dropped: int) -> list[str]:
    """What is said of a log that was longer than it may be."""
    longer = f"the log of this step is longer than {bytes_max} bytes; its rest is dropped"
    return [longer, f"{dropped} bytes of this step's log were dropped"]


@pytest.mark.parametrize(
    ("bytes_max", "printed", "kept_bytes", "said"),
    [
        (4, b"1234", b"1234", []),
        (4, b"12345", b"1234", remarked(4, 1)),
        (4, b"123\n5", b"123\n", remarked(4, 1)),
        (0, b"12", b"", remarked(0, 2)),
    ],
)
def test_what_is_beyond_the_limit_is_counted_beside_the_log(
    pipe: tuple[int, int], bytes_max: int, printed: bytes, kept_bytes: bytes, said: list[str]
) -> None:
    log, kept, remarks = log_of(bytes_max)
    os.write(pipe[1], printed)
    assert log.intake.read(pipe[0])
    assert log.intake.read(pipe[0]), "an empty pipe may be filled again"
    log.close()
    assert (b"".join(kept), remarks) == (kept_bytes, said)
