"""Packing and unpacking: what goes in comes out, and what strangers packed stays in its folder."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surveil.execute.archives import finding, unpacking
from surveil.execute.archives.copying import copy
from surveil.execute.archives.finding import TooMuch, find
from surveil.execute.archives.packing import pack
from surveil.execute.archives.unpacking import ArchiveRefused, unpack

MIB = 1024 * 1024


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def found(root: Path, *texts: str) -> list[str]:
    return find(root, texts, bytes_max=MIB).files


# ---- finding ----


def test_a_pattern_chooses_files_and_a_folder_stands_for_all_below_it(tmp_path: Path) -> None:
    tree(tmp_path, "dist/a.whl", "dist/b.txt", "html/index.html", "html/css/x.css", "deep/er/dist/c.whl", "top.whl")
    assert found(tmp_path, "dist/*.whl") == ["dist/a.whl"]
    assert found(tmp_path, "**/*.whl") == ["deep/er/dist/c.whl", "dist/a.whl", "top.whl"]
    assert found(tmp_path, "html") == found(tmp_path, "html/") == ["html/css/x.css", "html/index.html"]
    assert found(tmp_path, "html", "!**/*.css") == ["html/index.html"]
    assert found(tmp_path, "**/dist") == ["deep/er/dist/c.whl", "dist/a.whl", "dist/b.txt"]
    assert found(tmp_path, "*.md") == []


def test_links_outwards_pipes_and_gits_own_folder_are_left_out(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "secret")
    root = tree(tmp_path / "work", ".git/config", "plain", "sub/.git/config")
    (root / "file-link").symlink_to(outside / "secret")
    (root / "folder-link").symlink_to(outside)
    (root / "sub/up").symlink_to("../../outside")
    os.mkfifo(root / "pipe")
    everything = find(root, ("**",), bytes_max=MIB)
    assert (everything.files, everything.links, everything.left_out) == (["plain", "sub/.git/config"], [], 4)


def test_links_within_the_tree_are_kept_as_links_and_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "work", "bin/app-1.2", "lib/x/y", "other")
    (root / "bin/app").symlink_to("app-1.2")
    (root / "bin/lib").symlink_to("../lib")
    (root / "bin/gone").symlink_to("../nowhere")
    chosen = find(root, ("bin",), bytes_max=MIB)
    assert chosen.files == ["bin/app-1.2"]
    assert chosen.links == [("bin/app", "app-1.2"), ("bin/gone", "../nowhere"), ("bin/lib", "../lib")]
    file = io.BytesIO()
    packed = pack(root, chosen.files, chosen.folders, file, links=chosen.links)
    assert packed.files == 1
    file.seek(0)
    (tmp_path / "to").mkdir()
    unpack(file, tmp_path / "to", bytes_max=MIB)
    assert {path.name: path.readlink() for path in (tmp_path / "to/bin").iterdir() if path.is_symlink()} == {
        "app": Path("app-1.2"), "lib": Path("../lib"), "gone": Path("../nowhere"),
    }  # fmt: skip
    assert (tmp_path / "to/bin/app").read_text() == "bin/app-1.2"


def test_what_goes_beyond_a_limit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a", "b", "c")
    with pytest.raises(TooMuch, match="more than 0 MiB"):
        find(tmp_path, ("*",), bytes_max=2)
    monkeypatch.setattr(finding, "FILES_MAX", 2)
    with pytest.raises(TooMuch, match="more than 2 files"):
        find(tmp_path, ("*",), bytes_max=MIB)
    monkeypatch.setattr(finding, "LOOKED_MAX", 2)
    with pytest.raises(TooMuch, match="in the work tree"):
        find(tmp_path, ("nothing",), bytes_max=MIB)


def test_what_is_too_deep_to_enter_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "/".join(["d"] * 63) + "/near", "/".join(["d"] * 70) + "/far")
    assert found(tmp_path, "**/near", "**/far") == ["/".join(["d"] * 63) + "/near"]


def test_folders_are_counted_as_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "all" / name).mkdir(parents=True)
    monkeypatch.setattr(finding, "FOLDERS_MAX", 3)
    with pytest.raises(TooMuch, match="more than 3 folders"):
        find(tmp_path, ("all",), bytes_max=MIB)
    monkeypatch.setattr(finding, "_CHECK_EVERY", 1)
    looks: list[None] = []
    find(tmp_path, ("none",), bytes_max=MIB, check=lambda: looks.append(None))
    assert looks, "whoever waits for a tree of nothing but folders can let go of it"


def test_folders_are_packed_no_longer_than_anybody_wants_them(tmp_path: Path) -> None:
    def unwanted() -> None:
        raise InterruptedError

    (tmp_path / "a").mkdir()
    with pytest.raises(InterruptedError):
        pack(tmp_path, [], ["a"], io.BytesIO(), unwanted)


# ---- there and back ----


def test_whatever_is_found_comes_out_again_also_below_the_folder_of_a_cache(tmp_path: Path) -> None:
    """Else it would be kept, and refused whenever somebody wants it."""
    root, deepest = tmp_path / "work", "/".join(["d"] * 63) + "/near"
    tree(root, deepest)
    here = os.open(root, os.O_RDONLY)
    try:
        for _ in range(20):
            os.mkdir("n" * 250, dir_fd=here)
            with os.fdopen(os.open("far", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
                file.write("far")
            inner = os.open("n" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    chosen = find(root, ("**",), bytes_max=MIB)
    assert deepest in chosen.files
    assert chosen.left_out == 1, "the first folder whose path no archive holds"
    out = io.BytesIO()
    pack(tmp_path, [f"work/{path}" for path in chosen.files], [f"work/{path}" for path in chosen.folders], out)
    out.seek(0)
    (tmp_path / "to").mkdir()
    assert unpack(out, tmp_path / "to", bytes_max=MIB).files == len(chosen.files)


def packed(root: Path, *texts: str) -> io.BytesIO:
    chosen, out = find(root, texts or ("**",), bytes_max=MIB), io.BytesIO()
    summary = pack(root, chosen.files, chosen.folders, out)
    assert summary.size == len(out.getvalue())
    assert summary.digest == hashlib.sha256(out.getvalue()).hexdigest()
    assert summary.files == len(chosen.files)
    out.seek(0)
    return out


def test_what_is_packed_comes_out_as_it_was(tmp_path: Path) -> None:
    names = ["a", "b/c", "b/" + "n" * 200, "ümläut", os.fsdecode(b"b/raw\xff"), "with space", "-rf"]
    root = tree(tmp_path / "from", *names[:4], *names[5:])
    (root / names[4]).write_bytes(b"raw")
    (root / "empty").mkdir()
    (root / "run").write_bytes(os.urandom(70_000))
    (root / "run").chmod(0o4751)
    os.utime(root / "run", (1_000, 1_000))
    (tmp_path / "to").mkdir()
    out = unpack(packed(root), tmp_path / "to", bytes_max=MIB)
    assert out.files == len(names) + 1
    for name in [*names, "run"]:
        assert (tmp_path / "to" / name).read_bytes() == (root / name).read_bytes(), name
    assert (tmp_path / "to/empty").is_dir()
    assert stat.S_IMODE((tmp_path / "to/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "to/a").stat().st_mode) == 0o644
    assert (tmp_path / "to/run").stat().st_mtime == 1_000


def test_files_that_are_there_give_way_only_where_that_was_asked_for(tmp_path: Path) -> None:
    archive = packed(tree(tmp_path / "from", "a"))
    (tmp_path / "to").mkdir()
    (tmp_path / "canary").write_text("alive")
    (tmp_path / "to/a").symlink_to(tmp_path / "canary")
    with pytest.raises(ArchiveRefused, match="in its way"):
        unpack(archive, tmp_path / "to", bytes_max=MIB)
    archive.seek(0)
    unpack(archive, tmp_path / "to", bytes_max=MIB, replace=True)
    assert (tmp_path / "to/a").read_text() == "a"
    assert (tmp_path / "canary").read_text() == "alive"


# ---- what strangers packed ----


def entry(name: str, data: bytes = b"bad", **fields: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    out = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data
    return out + b"\0" * (-len(data) % 512)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> bytes:
    return entry(name, b"", type=kind, linkname=target)


def folder(name: str) -> bytes:
    return entry(name, b"", type=tarfile.DIRTYPE)


def pax(fields: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return entry("pax", fields, type=kind)


def pax_field(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def huge(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def raw_name(name: bytes) -> bytes:
    block = bytearray(entry("x" * len(name)))
    block[: len(name)] = name
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


END = b"\0" * 1024
CRAFTED: dict[str, bytes] = {
    "a file above the folder": entry("../canary"),
    "a file above it by a detour": entry("a/../../canary"),
    "a file above it at the end": entry("a/.."),
    "an absolute name": entry("/tmp/canary"),
    "a doubled slash": entry("a//b"),
    "a dot": entry("./a"),
    "only a dot": folder("."),
    "only a slash": raw_name(b"/"),
    "an empty name": entry(""),
    "a link to a file": link("a", "../canary"),
    "a link to a folder and a file in it": link("a", "..") + entry("a/canary"),
    "an absolute link": link("a", "/etc/passwd"),
    "a link by a detour": link("a", "b/../../canary"),
    "a link that leads up behind a name": folder("b") + link("a", "b/../b"),
    "a link through a link": link("a", ".") + link("b", "a/../canary"),
    "a link that leads up too far": folder("b") + link("b/a", "../../canary"),
    "a link within, and a file in it": folder("b") + link("a", "b") + entry("a/canary"),
    "a link within, and a folder of its name": folder("b") + link("a", "b") + folder("a"),
    "a folder, and then a link of its name": folder("b") + link("b", "."),
    "a link that holds bytes": entry("a", b"bytes", type=tarfile.SYMTYPE, linkname="b"),
    "a link to nothing at all": link("a", ""),
    "a link with a NUL": pax(pax_field("linkpath", "b\0c")) + link("a", "b"),
    "a link of a doubled slash": link("a", "b//c"),
    "a link that is too long": pax(pax_field("linkpath", "n/" * 2_500)) + link("a", "b"),
    "the same link twice": link("a", "b") + link("a", "c"),
    "a hard link outwards": link("a", "../canary", tarfile.LNKTYPE),
    "a hard link within": entry("b") + link("a", "b", tarfile.LNKTYPE),
    "a link that a folder replaces": link("a", "..") + folder("a") + entry("a/canary"),
    "a character device": entry("a", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a block device": entry("a", b"", type=tarfile.BLKTYPE, devmajor=8),
    "a pipe": entry("a", b"", type=tarfile.FIFOTYPE),
    "a contiguous file": entry("a", type=tarfile.CONTTYPE),
    "a type that nobody knows": entry("a", type=b"Z"),
    "a file with holes": huge("a", 1 << 40, tarfile.GNUTYPE_SPARSE),
    "holes by another header": pax(pax_field("GNU.sparse.major", "1") + pax_field("GNU.sparse.realsize", "9" * 12))
    + entry("a"),
    "a size that is a lie": huge("a", 1 << 40),
    "a size beyond the limit by a pax header": pax(pax_field("size", str(1 << 50))) + entry("a"),
    "a negative size": pax(pax_field("size", "-512")) + entry("a"),
    "a pax name above the folder": pax(pax_field("path", "../canary")) + entry("a"),
    "a pax name with a NUL": pax(pax_field("path", "a\0b")) + entry("a"),
    "a pax header for all that follows": pax(pax_field("path", "../canary"), tarfile.XGLTYPE) + entry("a"),
    "a pax header larger than memory": huge("pax", 1 << 40, tarfile.XHDTYPE),
    "a long name larger than memory": huge("././@LongLink", 1 << 40, tarfile.GNUTYPE_LONGNAME),
    "pax headers without end": pax(pax_field("comment", "x")) * 5_000 + entry("a"),
    "a long name above the folder": entry("././@LongLink", b"../canary\0", type=tarfile.GNUTYPE_LONGNAME) + entry("a"),
    "a part that is too long": entry("n" * 256),
    "a path that is too long": entry("/".join(["n" * 200] * 30)),
    "a path that is too deep": entry("/".join("d" * 65) + "/a"),
    "the same name twice": entry("a", b"one") + entry("a", b"two"),
    "a file and then a folder of its name": entry("a") + folder("a"),
    "a file and then a file in it": entry("a") + entry("a/b"),
    "a folder and then a file of its name": folder("a") + entry("a"),
    "a folder that holds bytes": entry("a", b"bytes", type=tarfile.DIRTYPE),
    "the end in the middle of a file": entry("a", b"x" * 2_000)[:1_500],
    "the end in the middle of a header": entry("a") + entry("b")[:100],
    "a checksum that does not fit": entry("a").replace(b"ustar", b"usta!"),
    "no archive at all": os.urandom(20_000),
    "too many entries": b"".join(entry(f"f{number}") for number in range(60)),
    "more bytes than may be": b"".join(entry(f"f{number}", b"x" * 100_000) for number in range(12)),
}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder to unpack into, and everything around it, which nothing may touch."""
    (tmp_path / "canary").write_text("alive")
    (tmp_path / "into").mkdir()
    before = tmp_path.stat().st_mtime_ns, (tmp_path / "canary").stat()
    yield tmp_path / "into"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "into"]
    assert (tmp_path.stat().st_mtime_ns, (tmp_path / "canary").stat()) == before
    assert (tmp_path / "canary").read_text() == "alive"
    for path in (tmp_path / "into").rglob("*"):
        inside = path.is_symlink() and path.resolve().is_relative_to((tmp_path / "into").resolve())
        assert inside or path.is_dir() or stat.S_ISREG(path.lstat().st_mode), f"{path} leads out, or is a device"


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_archive_is_refused_and_reaches_nothing_outside(
    name: str, canary: Path, monkeypatch: pytest.MonkeyPatch, *, replace: bool
) -> None:
    monkeypatch.setattr(unpacking, "ENTRIES_MAX", 50)
    with pytest.raises(ArchiveRefused):
        unpack(io.BytesIO(CRAFTED[name] + END), canary, bytes_max=MIB, replace=replace)


def test_there_are_enough_of_them() -> None:
    assert len(CRAFTED) >= 30


@pytest.mark.parametrize(
    "plant", [lambda into: (into / "a").symlink_to(into.parent), lambda into: os.mkfifo(into / "a")]
)
def test_what_lies_in_the_folder_leads_no_file_out_of_it(canary: Path, plant: Callable[[Path], None]) -> None:
    plant(canary)
    with pytest.raises(ArchiveRefused, match="in its way"):
        unpack(io.BytesIO(entry("a/canary") + END), canary, bytes_max=MIB, replace=True)
    (canary / "a").unlink()


def test_only_what_is_wanted_comes_out(canary: Path) -> None:
    with pytest.raises(ArchiveRefused, match="`Makefile` does not belong in it"):
        unpack(io.BytesIO(entry("Makefile") + END), canary, bytes_max=MIB, wanted=lambda path: path.startswith("lib"))
    assert list(canary.iterdir()) == []


@pytest.mark.parametrize("target", ["b", "./b", "../a/b", "../../a/d", "c", ".", "..", "b/"])
def test_a_link_that_stays_inside_is_made_as_it_was(canary: Path, target: str) -> None:
    packed = folder("a") + folder("a/a") + entry("a/b") + link("a/a/c", target) + END
    unpack(io.BytesIO(packed), canary, bytes_max=MIB)
    assert (canary / "a/a/c").readlink() == Path(target)
    with pytest.raises(ArchiveRefused, match="something else is in its way"):
        unpack(io.BytesIO(link("a/a/c", "b") + END), canary, bytes_max=MIB)
    unpack(io.BytesIO(link("a/a/c", "z") + END), canary, bytes_max=MIB, replace=True)
    assert (canary / "a/a/c").readlink() == Path("z")
    (canary / "a/a/c").unlink()


def test_links_of_a_part_stay_in_it(canary: Path) -> None:
    packed = entry("work/b") + link("work/d/c", "../b") + END
    unpack(io.BytesIO(packed), canary, bytes_max=MIB, links_below=1)
    with pytest.raises(ArchiveRefused, match="`work/a` is a link that leads out of the folder"):
        unpack(io.BytesIO(link("work/a", "../home") + END), canary, bytes_max=MIB, links_below=1)


def test_special_bits_and_owners_stay_behind(canary: Path) -> None:
    unpack(io.BytesIO(entry("a", mode=0o6777, uid=12_345) + END), canary, bytes_max=MIB)
    found = (canary / "a").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o755, os.getuid())


# ---- copying ----


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.ENOSYS, None, 0], ids=str)
def test_bytes_are_copied_whatever_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    data = os.urandom(3 * MIB)

    def refuse(*_: object) -> int:
        if refusal:
            raise OSError(refusal, "no")
        return 0  # Some file systems say so where they cannot.

    if refusal is not None:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb", buffering=0) as out:
        assert copy(source, 5, 2 * MIB, out) == 2 * MIB
        assert copy(io.BytesIO(data), 7, 9, out) == 9
        assert copy(source, 3 * MIB - 4, 10, out) == 4
        assert copy(source, 4 * MIB, 10, out) == 0
    assert (tmp_path / "out").read_bytes() == data[5 : 5 + 2 * MIB] + data[7:16] + data[-4:]


def test_a_disk_that_takes_no_more_is_no_reason_to_try_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    (tmp_path / "in").write_bytes(b"abc")
    with (
        (tmp_path / "in").open("rb") as source,
        (tmp_path / "out").open("wb", buffering=0) as out,
        pytest.raises(OSError, match="No space left"),
    ):
        copy(source, 0, 3, out)
