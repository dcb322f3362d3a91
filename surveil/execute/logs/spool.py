"""The log of one attempt on this machine's disk: the keeper appends to it, the agent reads it, neither waits.

What belongs here: the file and its bytes. What does not: the shape of frames and how much may be sent (`output`).
Imports only what a keeper may import.
"""

# ruff: noqa: PTH120  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from surveil.disk import sync_file, sync_folder
from surveil.execute.logs.output import CHUNK_BYTES_MAX, HEADER_BYTES, Chunk, Frame, is_sound, make_frame, read_header

SYNC_BYTES: Final = 1024 * 1024
SYNC_MS: Final = 1_000
TORN_BYTES_MAX: Final = 4 * SYNC_BYTES
"""More than this is never on its way to the platter, so a power cut tears no more off the end."""
_HEADERS_MARKED: Final = 4096
"""A reader remembers where every so many frames begin, so that going back is no long walk."""


class DamagedError(ValueError):
    """What is on the disk here is not what was written. `upto` is where the log can be read again, None where nothing
    behind this place can be found.
    """

    def __init__(self, at: int, upto: int | None) -> None:
        super().__init__(f"the log on the runner's disk is damaged at byte {at}")
        self.upto = upto


class SpoolWriter:
    """Appends to the spool; what was written survives us at once, and the machine's power after `SYNC_MS` at most."""

    def __init__(self, path: str, clock: Callable[[], int], note: str | None = None) -> None:
        """Open the file; `note` says whose log it is, and is put on the platter with the first of it."""
        self._path = path
        self._note = note
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._clock = clock
        self._good_bytes = os.fstat(self._file).st_size
        self._unsynced = 0
        self._synced_at = clock()
        self.log_bytes = 0

    @classmethod
    def behind(cls, reader: SpoolReader, path: str, clock: Callable[[], int]) -> SpoolWriter:
        """Go on in the place of a writer that was killed, behind the last that this reader found whole there.

        Raises OSError.
        """
        writer = cls(path, clock)
        writer.log_bytes, writer._good_bytes = reader.end
        os.ftruncate(writer._file, writer._good_bytes)
        return writer

    def append(self, data: bytes, after_ms: int) -> None:
        """Append `data` to the log. Raises OSError when the disk takes no more; the log then ends before `data`."""
        for begin in range(0, len(data), CHUNK_BYTES_MAX):
            piece = data[begin : begin + CHUNK_BYTES_MAX]
            self._write(make_frame(self.log_bytes, after_ms, piece))
            self.log_bytes += len(piece)
        if self._unsynced >= SYNC_BYTES:
            self.sync()

    def due_at(self) -> int | None:
        """When `sync` should be called at the latest, by the clock given; None when all is safe.

        The first of a log is due at once: what it is found by is three more syncs, which then happen while the step
        goes on, and not when everybody waits for its end.
        """
        if not self._unsynced:
            return None
        return self._synced_at + SYNC_MS if self._note is None else self._synced_at

    def sync(self) -> None:
        """Put on the platter what was written. Raises OSError."""
        if self._unsynced:
            if self._note is not None:
                self._anchor(self._note)
            os.fdatasync(self._file)
        self._unsynced, self._synced_at = 0, self._clock()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _anchor(self, note: str) -> None:
        """Make durable what this file is found by after a power cut: the note beside it, and the names on the way."""
        with contextlib.suppress(FileNotFoundError):
            sync_file(note)
        folder = os.path.dirname(self._path)
        sync_folder(folder)
        sync_folder(os.path.dirname(folder))
        self._note = None

    def _write(self, frame: bytes) -> None:
        if not self._unsynced:
            self._synced_at = self._clock()
        try:
            rest = memoryview(frame)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._good_bytes)
            raise
        self._good_bytes += len(frame)
        self._unsynced += len(frame)


class SpoolReader:
    """Reads the spool while it is written. A frame that is not whole yet is not there yet."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._marks: list[tuple[int, int]] = [(0, 0)]
        self._frames_seen = 0
        self._end = (0, 0)
        self._here = (0, 0)
        self._settled = False

    @property
    def log_bytes(self) -> int:
        """How much of the log was found whole so far; see `look`."""
        return self._end[0]

    @property
    def end(self) -> tuple[int, int]:
        """The same, and where in the file that ends."""
        return self._end

    def look(self) -> int:
        """Walk over what was written since; return how long the log is now."""
        if self._settled:
            return self._end[0]
        at, place = self._end
        size = os.fstat(self._file).st_size
        while place + HEADER_BYTES <= size:
            frame = read_header(os.pread(self._file, HEADER_BYTES, place), at)
            if frame is None or place + HEADER_BYTES + frame.length > size:
                break
            at, place = at + frame.length, place + HEADER_BYTES + frame.length
            self._frames_seen += 1
            if self._frames_seen % _HEADERS_MARKED == 0:
                self._marks.append((at, place))
        self._end = (at, place)
        return at

    def settle(self) -> int:
        """Nobody writes any more, and a power cut may have torn the end: let the log end before the first of the last
        frames that is not sound; return how long it is.

        What is damaged further ahead is no power cut's doing: it keeps its place, so that reading says so.
        """
        self.look()
        self._settled, end = True, self._end[1]
        young_from = end - TORN_BYTES_MAX
        at, place = max(mark for mark in self._marks if mark[1] <= max(0, young_from))
        while place < end:
            header = read_header(os.pread(self._file, HEADER_BYTES, place), at)
            if header is None:
                break
            behind = place + HEADER_BYTES
            young = behind + header.length > young_from
            if young and not is_sound(header, os.pread(self._file, header.length, behind)):
                break
            at, place = at + header.length, behind + header.length
        self._end = (at, place)
        return at

    def read(self, at: int, count: int) -> Chunk | None:
        """Up to `count` bytes of the log from byte `at` on, joined across sound frames; None if there are none.

        Raises DamagedError where the file is damaged at byte `at` itself.
        """
        count = min(count, self._end[0] - at, CHUNK_BYTES_MAX)
        if count <= 0:
            return None
        self._seek(at)
        pieces: list[bytes] = []
        after_ms, wanted = 0, count
        while wanted:
            try:
                frame, data = self._frame()
            except DamagedError:
                if pieces:
                    break  # What lies before it is as good as ever.
                raise
            skip = at - frame.at
            piece = data[skip : skip + wanted]
            pieces.append(piece)
            after_ms, at, wanted = frame.after_ms, at + len(piece), wanted - len(piece)
            if skip + len(piece) == frame.length:
                self._here = (frame.at + frame.length, self._here[1] + HEADER_BYTES + frame.length)
        body = b"".join(pieces)
        return Chunk(at=at - len(body), after_ms=after_ms, data=body)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _seek(self, at: int) -> None:
        """Come to the frame that holds byte `at`."""
        if self._here[0] > at:
            self._here = max(mark for mark in self._marks if mark[0] <= at)
        while True:
            frame = self._header()
            if frame.at + frame.length > at:
                return
            self._here = (frame.at + frame.length, self._here[1] + HEADER_BYTES + frame.length)

    def _header(self) -> Frame:
        at, place = self._here
        frame = read_header(os.pread(self._file, HEADER_BYTES, place), at)
        if frame is None:
            raise DamagedError(at, None)
        return frame

    def _frame(self) -> tuple[Frame, bytes]:
        frame = self._header()
        data = os.pread(self._file, frame.length, self._here[1] + HEADER_BYTES)
        if not is_sound(frame, data):
            raise DamagedError(frame.at, frame.at + frame.length)
        return frame, data
