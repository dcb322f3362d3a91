"""What is installed where surveil is no checkout: all of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def kept(*paths: str) -> list[str]:
    """The files of this checkout that git knows, or would know if they were added."""
    words = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths)
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).exists()]


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in kept("surveil", "pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", tmp_path, source)
    subprocess.run((sys.executable, "-m", "pip", *words), check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        installed = {name for name in opened.namelist() if name.startswith("surveil/")}
    assert installed == {*kept("surveil")}
