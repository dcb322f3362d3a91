"""Logs take turns, stop at their windows, and start again where they must."""

from __future__ import annotations

import pytest

from surveil.core.model import AttemptId
from surveil.execute.logs.output import CHUNK_BYTES_MAX, WINDOW_BYTES, Chunk
from surveil.execute.logs.sending import FULL_MS, LATE_MS, Logs
from surveil.execute.logs.spool import DamagedError

A: AttemptId = ("7/a", 1)
B: AttemptId = ("7/b", 1)


class Wire:
    """Takes what is sent, as long as it is open."""

    def __init__(self) -> None:
        self.sent: list[tuple[AttemptId, int, int]] = []
        self.open = True
        self.damaged = False
        self.damaged_bytes = 0

    def read(self, attempt: AttemptId, at: int, count: int) -> Chunk | None:
        if self.damaged:
            raise DamagedError(at, at + self.damaged_bytes if self.damaged_bytes else None)
        return Chunk(at=at, after_ms=1, data=b"x" * count)

    def send(self, attempt: AttemptId, chunk: Chunk) -> bool:
        if self.open:
            self.sent.append((attempt, chunk.at, len(chunk.data)))
        return self.open


def test_a_line_is_not_held_up_by_a_flood() -> None:
    wire = Wire()
    logs = Logs(wire.read, wire.send)
    logs.grow(A, 100 * WINDOW_BYTES)
    logs.grow(B, 10)
    logs.pump(0)
    assert wire.sent[:2] == [(A, 0, CHUNK_BYTES_MAX), (B, 0, 10)]
    assert sum(count for attempt, _, count in wire.sent if attempt == A) == WINDOW_BYTES


def test_a_full_connection_is_tried_again_soon_and_nothing_is_skipped() -> None:
    wire = Wire()
    logs = Logs(wire.read, wire.send)
    logs.grow(A, 10)
    wire.open = False
    assert logs.pump(0) == FULL_MS
    wire.open = True
    assert logs.pump(1) == FULL_MS
    assert wire.sent == []
    logs.pump(FULL_MS)
    assert wire.sent == [(A, 0, 10)]


def test_a_new_connection_starts_from_what_is_kept_and_silence_from_there_too() -> None:
    wire = Wire()
    logs = Logs(wire.read, wire.send)
    logs.grow(A, 10)
    assert logs.pump(0) is None
    logs.keep(A, 4, 5)
    logs.restart(6)
    assert logs.pump(6) is None
    assert wire.sent == [(A, 0, 10), (A, 4, 6)]
    assert logs.pump(7) == 6 + LATE_MS
    logs.pump(6 + LATE_MS)
    assert wire.sent[2:] == [(A, 4, 6)]


def test_a_forgotten_log_is_not_sent() -> None:
    wire = Wire()
    logs = Logs(wire.read, wire.send)
    logs.grow(A, 10)
    logs.forget(A)
    logs.resume(A, 0, 0)
    logs.keep(A, 1, 0)
    assert logs.pump(0) is None
    assert wire.sent == []


def test_a_damaged_log_keeps_its_length_and_says_so() -> None:
    wire = Wire()
    said: list[bytes] = []

    def send(attempt: AttemptId, chunk: Chunk) -> bool:
        said.append(chunk.data)
        return True

    wire.damaged = True
    logs = Logs(wire.read, send)
    logs.grow(A, 500)
    logs.pump(0)
    assert len(b"".join(said)) == 500
    assert b"damaged" in said[0]


@pytest.mark.parametrize(("damaged", "marked"), [(100, 100), (1, 66)])
def test_only_what_is_damaged_is_marked_but_no_mark_is_cut_short(damaged: int, marked: int) -> None:
    wire = Wire()
    wire.damaged = True
    wire.damaged_bytes = damaged
    said: list[bytes] = []

    def send(attempt: AttemptId, chunk: Chunk) -> bool:
        said.append(chunk.data)
        wire.damaged = False
        return True

    logs = Logs(wire.read, send)
    logs.grow(A, 500)
    logs.pump(0)
    assert [len(piece) for piece in said] == [marked, 500 - marked]
    assert said[0].strip() == b"[surveil: this part of the log was damaged on the runner's disk]"
