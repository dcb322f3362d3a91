"""Packages of npm, for tests that check us against what others recorded, or against their servers. None of it is kept
in this repository.

What belongs here: fetching one, once. What does not: what is in it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[1] / "build" / "npm"
PATIENCE_S = 120


def unpacked(name: str, version: str, sha512: str) -> Path:
    """The folder of a package, of which the archive has this SHA-512 in base64."""
    folder = KEPT / f"{name.replace('/', '-')}-{version}"
    KEPT.mkdir(parents=True, exist_ok=True)
    # Several workers may want it at once.
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(f"{name}@{version}", sha512, folder)
    return folder / "package"


def installed(folder: Path) -> Path:
    """A copy of a folder with `package.json` and its lock, which has the hashes of all packages, and these beside it.
    Nothing that they bring runs while they are installed.
    """
    files = sorted(each for each in folder.iterdir() if each.is_file())
    there = KEPT / f"{folder.name}-{hashlib.sha256(b''.join(each.read_bytes() for each in files)).hexdigest()[:16]}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not there.exists():
            _install(files, there)
    return there


def _install(files: list[Path], there: Path) -> None:
    npm = _npm()
    with tempfile.TemporaryDirectory(dir=KEPT) as made:
        new = Path(made) / "new"
        new.mkdir()
        for each in files:
            shutil.copy(each, new)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        subprocess.run(command, check=True, timeout=PATIENCE_S, cwd=new, stdout=subprocess.DEVNULL)
        new.rename(there)


def _npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("type `sudo apt install npm`")
    return npm


def _fetch(package: str, sha512: str, folder: Path) -> None:
    npm = _npm()
    with tempfile.TemporaryDirectory(dir=KEPT) as there:
        command = [npm, "pack", package, "--pack-destination", there, "--loglevel", "error"]
        subprocess.run(command, check=True, timeout=PATIENCE_S, cwd=there, stdout=subprocess.DEVNULL)
        [archive] = Path(there).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert found == sha512, f"{package} is not what it was"
        with tarfile.open(archive) as opened:
            opened.extractall(Path(there) / "out", filter="data")
        (Path(there) / "out").rename(folder)
