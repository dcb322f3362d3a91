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
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final

from surveil.core.spelling import quoted
from surveil.execute.archives.beneath import DEPTH_MAX, Beneath
from surveil.execute.archives.copying import copy
from surveil.execute.archives.linking import stays_inside
from surveil.execute.archives.packing import BLOCK_BYTES, PLAIN, RUNS
from surveil.frozen import dataclass

ENTRIES_MAX: Final = 200_000
NAME_BYTES_MAX: Final = 255
PATH_BYTES_MAX: Final = 4_096
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
    """What came out of an archive; `paths` are those of its files."""

    files: int
    size: int
    paths: Collection[str]


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
    earlier: Mapping[str, str] = MappingProxyType({}),
    links_below: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Unpacked:
    """Unpack an archive below the folder `into`, which exists. Blocks; `check` is called between files, and may raise.

    With `replace`, files and links that are there give way; without, they are a reason to refuse. An entry that is not
    `wanted` is one as well, and one whose path came from an `earlier` archive, of which there is the name, unless it is
    the same. A link that leads out of the folder, or out of so many folders in it as `links_below` says, is refused.

    Raises:
        ArchiveRefused: it is no such archive, or goes beyond a limit.
        OSError: the disk does not take it.
    """
    terms = _Terms(bytes_max, wanted, replace, earlier, links_below, check)
    guarded: Any = _Guarded(file)
    try:
        with Beneath(into) as beneath, tarfile.open(fileobj=guarded, mode="r:", errorlevel=2) as archive:
            return _take_apart(archive, file, beneath, terms)
    except _UNREADABLE as error:
        raise ArchiveRefused(f"it is no sound archive ({str(error) or type(error).__name__})") from error


@dataclass(frozen=True, slots=True)
class _Terms:
    """On which an archive is taken apart; see `unpack`."""

    bytes_max: int
    wanted: Callable[[str], bool]
    replace: bool
    earlier: Mapping[str, str]
    links_below: int
    check: Callable[[], None]


def _take_apart(archive: tarfile.TarFile, file: IO[bytes], beneath: Beneath, terms: _Terms) -> Unpacked:
    entries = size = 0
    made: set[str] = set()
    while (entry := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # it would remember each of them for ever
        terms.check()
        entries += 1
        size += _size_of(entry)
        if entries > ENTRIES_MAX:
            raise ArchiveRefused(f"it has more than {ENTRIES_MAX} entries")
        if size > terms.bytes_max:
            raise ArchiveRefused(f"it holds more than {terms.bytes_max // 1024**2} MiB")
        parts = _judged(entry, terms.links_below)
        path = "/".join(parts)
        if not terms.wanted(path):
            raise ArchiveRefused(f"{quoted(path)} does not belong in it")
        if entry.isdir():
            _make_folder(beneath, parts, path)
            continue
        if path in made:
            raise ArchiveRefused(f"{quoted(path)} is in it twice")
        made.add(path)
        if path not in terms.earlier:
            _make(file, entry, beneath, parts, replace=terms.replace)
        elif not _is_there(file, entry, beneath, parts):
            raise ArchiveRefused(f"{quoted(path)} is in {terms.earlier[path]} as well, and not the same")
    # The reader takes a header that is none for the end.
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ArchiveRefused("it ends where no archive ends")
    return Unpacked(files=len(made), size=size, paths=made)


def _size_of(entry: tarfile.TarInfo) -> int:
    if entry.size < 0:
        raise ArchiveRefused("an entry is shorter than nothing")
    return entry.size


def _judged(entry: tarfile.TarInfo, links_below: int) -> list[str]:
    """The parts of an entry's name, if it may be there at all."""
    name = entry.name
    if entry.type not in _PLAIN_TYPES and entry.type not in {tarfile.DIRTYPE, tarfile.SYMTYPE}:
        raise ArchiveRefused(f"{quoted(name)} is neither a file nor a folder")
    if entry.sparse is not None or entry.pax_headers.keys() & _SPARSE:
        raise ArchiveRefused(f"{quoted(name)} has holes")
    if not entry.isreg() and entry.size:
        raise ArchiveRefused(f"{quoted(name)} is no file, and holds bytes")
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise ArchiveRefused(f"{quoted(name)} cannot be a name here") from error
    parts = name.removesuffix("/").split("/") if entry.isdir() else name.split("/")
    if b"\0" in raw or len(raw) > PATH_BYTES_MAX or any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in parts):
        raise ArchiveRefused(f"{quoted(name)} cannot be a name here")
    if name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ArchiveRefused(f"{quoted(name)} would lead out of the folder")
    if len(parts) - (not entry.isdir()) > DEPTH_MAX:
        raise ArchiveRefused(f"{quoted(name)} lies deeper than {DEPTH_MAX} folders")
    if entry.issym() and not stays_inside(name, entry.linkname, below=links_below):
        raise ArchiveRefused(f"{quoted(name)} is a link that leads out of the folder")
    return parts


_SPARSE: Final = frozenset({"GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.numblocks"})


def _make_folder(beneath: Beneath, parts: list[str], path: str) -> None:
    try:
        beneath.folder(parts, make=True)
    except OSError as error:
        raise _in_the_way(path, error) from error


def _make(file: IO[bytes], entry: tarfile.TarInfo, beneath: Beneath, parts: list[str], *, replace: bool) -> None:
    path = "/".join(parts)
    try:
        if entry.issym():
            beneath.link(parts, entry.linkname, replace=replace)
            return
        handle = beneath.create(parts, replace=replace)
    except OSError as error:
        raise _in_the_way(path, error) from error
    _write(file, entry, handle, path)


def _is_there(file: IO[bytes], entry: tarfile.TarInfo, beneath: Beneath, parts: list[str]) -> bool:
    """Whether what lies at this path is the same: a file of the same bytes that may be run alike, or a link."""
    try:
        there = beneath.target(parts)
    except OSError:
        there = ""
    if there or entry.issym():
        return entry.issym() and there == entry.linkname
    with os.fdopen(beneath.read(parts), "rb", buffering=0) as known:
        status = os.fstat(known.fileno())
        if status.st_size != entry.size or bool(status.st_mode & _OWNER_RUNS) != bool(entry.mode & _OWNER_RUNS):
            return False
        file.seek(entry.offset_data)
        left = entry.size
        while left:
            data = file.read(min(left, BLOCK_BYTES))
            if not data or data != known.read(len(data)):
                return False
            left -= len(data)
    return True


def _in_the_way(path: str, error: OSError) -> Exception:
    """A link, a file where a folder should be, or a file of that name: the archive's fault; all else is the disk's."""
    if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError) or error.errno == _LOOP:
        return ArchiveRefused(f"{quoted(path)} cannot be made: something else is in its way")
    return error


def _write(file: IO[bytes], entry: tarfile.TarInfo, handle: int, path: str) -> None:
    with open(handle, "wb", buffering=0) as out:
        copied = 0
        if entry.size:
            copied = copy(file, entry.offset_data, entry.size, out)
        if copied < entry.size:
            raise ArchiveRefused(f"it ends in the middle of {quoted(path)}")
        os.fchmod(handle, RUNS if entry.mode & _OWNER_RUNS else PLAIN)
        at = min(max(int(entry.mtime), 0), _LATEST_S)
        os.utime(handle, (at, at))
