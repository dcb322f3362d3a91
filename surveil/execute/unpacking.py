"""Taking an archive apart on a machine that does not trust whoever packed it.

What belongs here: what an archive may hold, and how it comes onto a disk without ever touching what is beside the
folder. What does not: who may have it, and where it comes from.

The standard library reads the headers and nothing else: its own filters have let files out of the folder more than
once (CVE-2025-4517 and its like). Here every name is taken apart, judged, and made in a folder that is held open, so
that no link in the archive or in the folder leads anywhere.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from surveil.core.spelling import quoted
from surveil.execute.beneath import DEPTH_MAX, Beneath
from surveil.execute.packing import BLOCK_BYTES, PLAIN, RUNS

ENTRIES_MAX: Final = 200_000
NAME_BYTES_MAX: Final = 255
PATH_BYTES_MAX: Final = 4_000
HEADER_BYTES_MAX: Final = 64 * 1024
"""A header names one file; what asks for more of it wants our memory."""
_OWNER_RUNS: Final = 0o100
_LOOP: Final = errno.ELOOP
_LATEST_S: Final = 253_370_764_800
"""The year 9999."""
_PLAIN_TYPES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
# What the reader raises for headers that are none; nothing but its own mistakes is of these kinds.
_UNREADABLE: Final = (tarfile.TarError, ValueError, OverflowError, LookupError, EOFError, RecursionError)


class ArchiveRefused(Exception):
    """The archive is none, or holds what none may hold; the text is a clause for people. What was unpacked until then
    is sound, and lies where it belongs.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What came out of an archive."""

    files: int
    size: int


class _Guarded:
    """The archive's file, as far as the reader of headers may have it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        """So many bytes."""
        if not 0 <= count <= max(BLOCK_BYTES, HEADER_BYTES_MAX):
            raise ArchiveRefused("a header in it is larger than any name")
        return self._file.read(count)

    def seek(self, at: int) -> int:
        """Go to this byte."""
        return self._file.seek(at)

    def tell(self) -> int:
        """Where it is."""
        return self._file.tell()


def unpack(
    file: IO[bytes],
    into: Path,
    *,
    bytes_max: int,
    wanted: Callable[[str], bool] = lambda _path: True,
    replace: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Unpacked:
    """Unpack an archive below the folder `into`, which exists. Blocks; `check` is called between files, and may raise.

    With `replace`, files and links that are there give way; without, they are a reason to refuse. An entry that is not
    `wanted` is one as well.

    Raises:
        ArchiveRefused: it is no such archive, or goes beyond a limit.
        OSError: the disk does not take it.
    """
    guarded: Any = _Guarded(file)
    try:
        with Beneath(into) as beneath, tarfile.open(fileobj=guarded, mode="r:", errorlevel=2) as archive:
            return _take_apart(archive, file, beneath, bytes_max, wanted, replace=replace, check=check)
    except _UNREADABLE as error:
        raise ArchiveRefused(f"it is no sound archive ({str(error) or type(error).__name__})") from error


def _take_apart(
    archive: tarfile.TarFile,
    file: IO[bytes],
    beneath: Beneath,
    bytes_max: int,
    wanted: Callable[[str], bool],
    *,
    replace: bool,
    check: Callable[[], None],
) -> Unpacked:
    entries = files = size = 0
    made: set[str] = set()
    while (entry := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # it would remember each of them for ever
        check()
        entries += 1
        size += _size_of(entry)
        if entries > ENTRIES_MAX:
            raise ArchiveRefused(f"it has more than {ENTRIES_MAX} entries")
        if size > bytes_max:
            raise ArchiveRefused(f"it holds more than {bytes_max // 1024**2} MiB")
        parts = _judged(entry)
        path = "/".join(parts)
        if not wanted(path):
            raise ArchiveRefused(f"{quoted(path)} does not belong in it")
        if entry.isdir():
            _make_folder(beneath, parts, path)
            continue
        if path in made:
            raise ArchiveRefused(f"{quoted(path)} is in it twice")
        made.add(path)
        _write(archive, entry, _created(beneath, parts, path, replace=replace), path)
        files += 1
    # The reader takes a header that is none for the end.
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ArchiveRefused("it ends where no archive ends")
    return Unpacked(files=files, size=size)


def _size_of(entry: tarfile.TarInfo) -> int:
    if entry.size < 0:
        raise ArchiveRefused("an entry is shorter than nothing")
    return entry.size


def _judged(entry: tarfile.TarInfo) -> list[str]:
    """The parts of an entry's name, if it may be there at all."""
    name = entry.name
    if entry.type not in _PLAIN_TYPES and entry.type != tarfile.DIRTYPE:
        raise ArchiveRefused(f"{quoted(name)} is neither a file nor a folder")
    if entry.sparse is not None or entry.pax_headers.keys() & _SPARSE:
        raise ArchiveRefused(f"{quoted(name)} has holes")
    if entry.isdir() and entry.size:
        raise ArchiveRefused(f"{quoted(name)} is a folder that holds bytes")
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise ArchiveRefused(f"{quoted(name)} cannot be a name here") from error
    parts = name.removesuffix("/").split("/") if entry.isdir() else name.split("/")
    if b"\0" in raw or len(raw) > PATH_BYTES_MAX or any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in parts):
        raise ArchiveRefused(f"{quoted(name)} cannot be a name here")
    if name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ArchiveRefused(f"{quoted(name)} would lead out of the folder")
    if len(parts) > DEPTH_MAX:
        raise ArchiveRefused(f"{quoted(name)} lies deeper than {DEPTH_MAX} folders")
    return parts


_SPARSE: Final = frozenset({"GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.numblocks"})


def _make_folder(beneath: Beneath, parts: list[str], path: str) -> None:
    try:
        beneath.folder(parts, make=True)
    except OSError as error:
        raise _in_the_way(path, error) from error


def _created(beneath: Beneath, parts: list[str], path: str, *, replace: bool) -> int:
    try:
        return beneath.create(parts, replace=replace)
    except OSError as error:
        raise _in_the_way(path, error) from error


def _in_the_way(path: str, error: OSError) -> Exception:
    """A link, a file where a folder should be, or a file of that name: the archive's fault; all else is the disk's."""
    if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError) or error.errno == _LOOP:
        return ArchiveRefused(f"{quoted(path)} cannot be made: something else is in its way")
    return error


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, handle: int, path: str) -> None:
    with open(handle, "wb", buffering=0) as out:
        source = archive.extractfile(entry)
        assert source is not None, "a plain file has content"
        left = entry.size
        while left:
            data = source.read(min(left, BLOCK_BYTES))
            if not data:
                raise ArchiveRefused(f"it ends in the middle of {quoted(path)}")
            rest = memoryview(data)
            while rest:
                rest = rest[out.write(rest) :]
            left -= len(data)
        os.fchmod(handle, RUNS if entry.mode & _OWNER_RUNS else PLAIN)
        at = min(max(int(entry.mtime), 0), _LATEST_S)
        os.utime(handle, (at, at))
