"""An image to build others on, made on the spot: this machine's Python and git, a shell, and packages for pip.

What belongs here: what is in it. What does not: small images for steps (`images`), and engines.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import docker

from tests.engines.images import found, libraries_of, links_of

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "wheels"
PATIENCE_S: Final = 300
PROGRAMS: Final = {
    "git": "git",
    "ssh": "openssh-client",
    "bwrap": "bubblewrap",
    "tini": "tini",
    "busybox": "busybox-static",
}
_LEFT_OUT: Final = {
    "__pycache__",
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
}
_BESIDE_LIBC: Final = (
    "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1",
)  # fmt: skip
"""What every Linux has, and wheels rely on."""
_WHEELS: Final = Path("/usr/share/python-wheels")
"""Where Debian's Python keeps what new virtual environments get."""


def missing() -> str:
    """What to type for it; empty if nothing is missing."""
    lacks = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return f"type `apt install {' '.join(lacks)}`" if lacks else ""


def make_base(api: docker.APIClient, name: str, scratch: Path) -> None:
    """Give an engine the image, by way of a file in the folder `scratch`."""
    archive = scratch / "base.tar"
    with tarfile.open(archive, "w") as tar:
        for folder in ("tmp", "etc", "root", "proc", "sys", "dev", "usr/bin", "usr/lib"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for link in ("bin", "lib", "lib64", "sbin"):
            _link(tar, link, f"usr/{link}")
        for target, path in sorted(_files(scratch).items()):
            entry = tar.gettarinfo(str(path.resolve()), target)
            entry.uid = entry.gid = 0
            entry.mode = 0o755 if entry.mode & 0o100 else 0o644
            # Of names for one file each is a file of its own here.
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.resolve().stat().st_size
            with path.open("rb") as data:
                tar.addfile(entry, data)
        for link, aim in _links().items():
            _link(tar, link, aim)
    repository, tag = name.split(":")
    changes = ["ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin"]
    api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
    archive.unlink()


def wheels() -> Path:
    """The folder of all that surveil runs with, fetched once, each with its hash."""
    pins = ROOT / "constraints.txt"
    folder = KEPT / hashlib.sha256(pins.read_bytes()).hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    # Several workers may want it at once.
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--only-binary", ":all:"]
            subprocess.run([*command, "--requirement", pins, "--dest", new], check=True, timeout=PATIENCE_S)
            new.rename(folder)
    return folder


def _files(scratch: Path) -> dict[str, Path]:
    """All files, by their paths in the image."""
    written = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/pip.conf": "[global]\nno-index = true\nfind-links = /wheels\ndisable-pip-version-check = true\n",
    }
    files: dict[str, Path] = {}
    for target, text in written.items():
        files[target] = scratch / target.replace("/", "-")
        files[target].write_text(text)
    programs = [found(program) for program in PROGRAMS]
    python = list(_python())
    for path in (*programs, *python, *_libraries([*programs, *python])):
        files[_inside(path)] = path
    files |= {f"wheels/{path.name}": path for path in wheels().iterdir()}
    return files


def _python() -> Iterator[Path]:
    """The interpreter that the virtual environment of these tests was made of, with its standard library."""
    yield Path(os.path.realpath(sys.executable))
    folders = [Path(sysconfig.get_path("stdlib")), *([_WHEELS] if _WHEELS.exists() else [])]
    for top in folders:
        for folder, below, names in os.walk(top):
            below[:] = [each for each in below if each not in _LEFT_OUT and not each.startswith("config-")]
            # Some distributions leave links to what another package of theirs has.
            yield from (path for name in names if (path := Path(folder) / name).is_file())


def _libraries(paths: Iterable[Path]) -> set[Path]:
    """What compiled files need besides."""
    compiled = [path for path in paths if path.suffix != ".py" and path.read_bytes()[:4] == b"\x7fELF"]
    found_ones = set(libraries_of(*(path for path in compiled if path.name != "busybox")))
    [libc] = [library for library in found_ones if library.name == "libc.so.6"]
    found_ones |= {library for name in _BESIDE_LIBC if (library := libc.resolve().parent / name).exists()}
    return {Path(os.path.normpath(library)) for library in found_ones}


def _links() -> dict[str, str]:
    python = Path(os.path.realpath(sys.executable))
    busybox = {
        f"usr/{link}": aim for link, aim in links_of(found("busybox")).items() if Path(link).name not in PROGRAMS
    }
    git = {f"usr/bin/git-{each}": "git" for each in ("upload-pack", "receive-pack")}
    return {**busybox, **git, "usr/bin/python3": f"/{_inside(python)}"}


def _inside(path: Path) -> str:
    """Where a file of this machine stands in the image, in which all lies below /usr that mostly does."""
    target = str(path).lstrip("/")
    return f"usr/{target}" if target.split("/")[0] in {"bin", "lib", "lib64", "sbin"} else target


def _link(tar: tarfile.TarFile, name: str, aim: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, aim
    tar.addfile(entry)
