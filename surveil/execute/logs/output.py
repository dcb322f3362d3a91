"""The log of an attempt as bytes with offsets: frames on disk, chunks on the wire, and the window between both.

What belongs here: pure functions and records. What does not: files (`spool`) and sockets (the hands). It imports
little, because the keeper uses it too.

A frame is a header of 20 bytes (little-endian: offset of its first byte in the log, length, milliseconds since the
acceptance, CRC-32 of these three and the data) and then the data.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

CHUNK_BYTES_MAX: Final = 256 * 1024
WINDOW_BYTES: Final = 1024 * 1024
"""So much of a log may be on its way, sent and not yet on the dispatcher's disk."""
HEADER_BYTES: Final = 20

_FIELDS: Final = struct.Struct("<QII")
_HEADER: Final = struct.Struct("<QIII")
_AFTER_MS_MAX: Final = 2**32 - 1


class Frame(NamedTuple):
    """A piece of a log: where it begins in the log, how long it is, and when it was written."""

    at: int
    length: int
    after_ms: int
    crc: int


class Chunk(NamedTuple):
    """A piece of a log as it travels."""

    at: int
    after_ms: int
    data: bytes


def make_frame(at: int, after_ms: int, data: bytes) -> bytes:
    """The bytes on disk of `data`, which begins at byte `at` of the log and came `after_ms` after the acceptance."""
    fields = _FIELDS.pack(at, len(data), min(max(after_ms, 0), _AFTER_MS_MAX))
    return b"".join((fields, crc32(data, crc32(fields)).to_bytes(4, "little"), data))


def read_header(header: bytes, at: int) -> Frame | None:
    """What the header of the frame that must begin at byte `at` of the log says; None if it is not whole or not
    sound.
    """
    if len(header) < HEADER_BYTES:
        return None
    frame = Frame(*_HEADER.unpack_from(header))
    return frame if frame.at == at and 0 < frame.length <= CHUNK_BYTES_MAX else None


def is_sound(frame: Frame, data: bytes) -> bool:
    """Whether `data` is what was written behind this header."""
    return len(data) == frame.length and crc32(data, crc32(_FIELDS.pack(*frame[:3]))) == frame.crc


class Window:
    """How far a log is sent, and how far it is kept: what to send next, and when to go back.

    `ready` bytes are on our disk, `sent` were handed to the connection, `kept` are on the dispatcher's disk.
    """

    __slots__ = ("kept", "moved_at", "ready", "sent")

    def __init__(self, ready: int = 0, kept: int = 0) -> None:
        self.ready = ready
        self.kept = kept
        self.sent = kept
        self.moved_at = 0

    @property
    def may_send(self) -> int:
        """How many bytes from `sent` on may be sent now."""
        return max(0, min(self.ready - self.sent, self.kept + WINDOW_BYTES - self.sent, CHUNK_BYTES_MAX))

    @property
    def waits(self) -> bool:
        """Whether something was sent that is not known to be kept."""
        return self.sent > self.kept

    def grow(self, ready: int) -> None:
        """More of the log is on our disk."""
        self.ready = max(self.ready, ready)

    def advance(self, count: int, now: int) -> None:
        """So many bytes were handed to the connection."""
        if not self.waits:
            self.moved_at = now
        self.sent += count

    def keep(self, upto: int, now: int, repeat_ms: int) -> None:
        """The dispatcher has the log up to byte `upto`. If that is no news, it missed what was sent since: go back.

        Going back happens at most once in `repeat_ms`, as every piece that it has twice brings the same answer; but at
        once where it has less than it once had, being started from a backup.
        """
        upto = min(upto, self.ready)
        if upto > self.kept:
            self.kept, self.moved_at = upto, now
            self.sent = max(self.sent, upto)
        elif upto < self.kept or (self.sent > upto and now - self.moved_at >= repeat_ms):
            self.resume(upto, now)

    def resume(self, at: int, now: int) -> None:
        """Start again from byte `at`: a new connection, or a dispatcher that has less than it once had."""
        self.kept = self.sent = min(max(at, 0), self.ready)
        self.moved_at = now

    def repeat_if_late(self, now: int, late_ms: int) -> bool:
        """Send again what was not acknowledged for `late_ms`; whether that was so."""
        late = self.waits and now - self.moved_at >= late_ms
        if late:
            self.resume(self.kept, now)
        return late
