"""Where the log of an attempt lies: folders that stay small with millions of builds, and names that no job can use to
escape.

What belongs here: names and paths. What does not: what the files hold.

`logs/BUILD in millions/thousands/ones/JOB.ATTEMPT` and a suffix: a thousand builds to a folder. A job's name that is
not plain is cut to its plain characters and told apart by a digest, behind a `~`, which plain names do not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

NAME_CHARACTERS_MAX: Final = 60

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}")
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]+")
_DIGEST_CHARACTERS: Final = 20
_MILLION: Final = 1_000_000
_FOLDERS: Final = 3


def log_stem(root: Path, job: str, attempt: int) -> Path:
    """The path of an attempt's log without its suffix. `job` is `BUILD/NAME`, as the protocol checked it."""
    return Path(log_name(root, job, attempt))


def log_name(root: Path, job: str, attempt: int) -> str:
    """The same as a text: whoever only reads many of them has no need of paths, which take as long as the reading."""
    number, _, name = job.partition("/")
    build = int(number)
    assert build > 0, f"{job!r} names no build"
    return f"{root}/{build // _MILLION}/{build // 1000 % 1000:03}/{build % 1000:03}/{_file_name(name)}.{attempt}"


def build_of(root: Path, path: Path) -> int | None:
    """The build to which a file of a log belongs; None where it does not lie as a log does."""
    folders = path.relative_to(root).parts[:-1]
    if len(folders) != _FOLDERS or not all(folder.isascii() and folder.isdigit() for folder in folders):
        return None
    millions, thousands, ones = map(int, folders)
    return millions * _MILLION + thousands * 1000 + ones


def _file_name(name: str) -> str:
    if _PLAIN.fullmatch(name) is not None:
        return name
    plain = _UNUSUAL.sub("-", name).strip("-")[: NAME_CHARACTERS_MAX - 1]
    return f"{plain}~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST_CHARACTERS]}"


def log_files(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Every file below `root` with one of these suffixes, in order, one folder in memory at a time."""
    try:
        entries = sorted(root.iterdir())
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from log_files(entry, suffixes)
        elif entry.name.endswith(suffixes):
            yield entry
