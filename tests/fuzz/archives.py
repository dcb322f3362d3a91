"""Archives that strangers packed: unpacked into their folder, or refused; never anything beside it, and nothing in it
but files and folders.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.execute.archives.finding import find
from surveil.execute.archives.packing import pack
from surveil.execute.archives.unpacking import ArchiveRefused, unpack
from tests.fuzz.disks import emptied
from tests.fuzz.draw import Draw

BYTES_MAX: Final = 20_000
CANARY: Final = "what lies beside the folder"
NAMES: Final = (
    "a", "b", "a/b", "a/b/c", "a/../b", "../canary", "../new", "/etc/passwd", ".", "..", "./a", "a//b", "a/", "",
    "link", "link/x", "A", "é", "e\u0301", "\udcff", "a\0b", "x" * 255, "x" * 256, "d/" * 63 + "f", "d/" * 70 + "f",
    "a\n", "-x", "a\\b", ".git/config",
)  # fmt: skip
"""Names of files, and of what leads out of a folder."""
TYPES: Final = (
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE,
    tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE,
    tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE,
)  # fmt: skip
FORMATS: Final = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)


def check(data: bytes) -> None:
    """Make an archive, perhaps change it, and unpack it."""
    draw = Draw(data)
    folder = emptied()
    (folder / "canary").write_text(CANARY)
    match draw.byte() % 4:
        case 0:
            _sound(draw, folder)
            return
        case 1:
            archive = draw.rest()
        case 2:
            archive = draw.edited(_forged(draw))
        case _:
            archive = _forged(draw)
    into = folder / "into"
    into.mkdir()
    if draw.flag():
        (into / "link").symlink_to(folder)
    try:
        with _file(archive, folder) as file:
            unpacked = unpack(file, into, bytes_max=BYTES_MAX, replace=draw.flag())
    except ArchiveRefused as error:
        refusal = str(error)
    else:
        refusal = ""
        assert unpacked.size <= BYTES_MAX, "more came out than may"
    assert refusal.isprintable(), f"the refusal {refusal!r} does something to a terminal"
    _look(folder, into)


def seeds() -> Iterator[bytes]:
    """Archives of a few entries: sound ones, forged ones, and forged ones with a change."""
    for way in range(4):
        for start in range(0, 256, 8):
            yield bytes([way]) + bytes((start + 13 * step) % 256 for step in range(120))
    for name in range(len(NAMES)):
        for kind in range(len(TYPES)):
            yield bytes([3, 0, name, 0, kind, 0, 9])


def _file(archive: bytes, folder: Path) -> io.BufferedRandom:
    file = (folder / "archive").open("w+b")
    file.write(archive)
    file.seek(0)
    return file


def _sound(draw: Draw, folder: Path) -> None:
    """What is packed here comes out as it was, whatever it is called."""
    tree, into = folder / "tree", folder / "into"
    tree.mkdir()
    into.mkdir()
    contents: dict[str, bytes] = {}
    for _ in range(1 + draw.byte() % 4):
        name = f"{draw.pick(('a', 'b/c', 'é', 'x' * 120))}-{draw.byte()}"
        (tree / name).parent.mkdir(exist_ok=True)
        contents[name] = draw.some(600)
        (tree / name).write_bytes(contents[name])
    found = find(tree, ("**",), bytes_max=BYTES_MAX)
    with (folder / "archive").open("w+b") as file:
        pack(tree, found.files, found.folders, file)
        file.seek(0)
        unpack(file, into, bytes_max=BYTES_MAX)
    out = {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}
    assert out == contents, "what came out is not what went in"


def _forged(draw: Draw) -> bytes:
    """An archive of entries that no honest packer makes."""
    out = b""
    for _ in range(1 + draw.byte() % 4):
        entry = tarfile.TarInfo(draw.pick(NAMES))
        content = draw.some(1_200)
        entry.type = draw.pick(TYPES)
        entry.size = len(content) if not draw.seldom(4) else draw.pick((0, 1, 511, 512, 513, 30_000, 2**33, 2**60))
        entry.mode = draw.pick((0o644, 0o755, 0o6777, 0o1777, 0, 0o100644))
        entry.mtime = draw.pick((0, 1, 2**31, 2**40, 2**62))
        entry.linkname = draw.pick(NAMES) if draw.flag() else ""
        if draw.seldom(4):
            key = draw.pick(("path", "size", "linkpath", "mtime", "GNU.sparse.map", "GNU.sparse.size", "hdrcharset"))
            entry.pax_headers = {key: draw.text()}
        try:
            head = entry.tobuf(draw.pick(FORMATS), "utf-8", "surrogateescape")
        except (ValueError, OverflowError):  # The format has no room for it.
            continue
        out += head + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return out + bytes(2 * tarfile.BLOCKSIZE)


def _look(folder: Path, into: Path) -> None:
    beside = {entry.name for entry in os.scandir(folder)}
    assert beside == {"canary", "archive", "into"}, f"beside the folder there is now {sorted(beside)}"
    assert (folder / "canary").read_text() == CANARY, "what lies beside the folder was changed"
    size = 0
    for at, folders, files in os.walk(into):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(at, name))  # noqa: PTH118  # names may be anything
            if stat.S_ISLNK(status.st_mode):
                assert (at, name) == (str(into), "link"), "a link came out"
                continue
            assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode), "something came out that is no file"
            assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX), "a file has more than its bits"
            assert status.st_nlink == 1 or stat.S_ISDIR(status.st_mode), "a second name of some file came out"
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    assert size <= BYTES_MAX, "more came out than may"
