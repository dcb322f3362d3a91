"""Finding the files that patterns choose in a tree that strangers wrote.

What belongs here: the walk, its limits, and what is left out. What does not: how patterns read (`core.globs`), and what
is done with the files (`packing`, `collect`).

Links are never followed. Those that lead to something beside them (`linking`) are chosen as links; what leads elsewhere
is not, and neither is what is no file: whoever fetches the files would get something else than the step had, or nothing
at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from surveil.core.globs import Globs, read_globs
from surveil.execute.archives.beneath import DEPTH_MAX
from surveil.execute.archives.linking import stays_inside

FILES_MAX: Final = 100_000
FOLDERS_MAX: Final = 100_000
"""With as many files no more than an archive may hold; what is kept must come out again."""
PATH_BYTES_MAX: Final = 4_000
"""Whoever unpacks takes a little more, so that there is room for the folder that a cache puts before it."""
LOOKED_MAX: Final = 2_000_000
"""So many names are looked at; a tree of more would take longer than anybody waits."""
GIT: Final = ".git"
_CHECK_EVERY: Final = 1_000


class TooMuch(Exception):
    """There is more than may be kept; the text is a clause for people."""


@dataclass(slots=True)
class Found:
    """What was found: files and folders by their paths from the root, in the order of their names."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    """Those within the tree, and their targets."""
    size: int = 0
    """Of the files, all together, in bytes."""
    left_out: int = 0
    """Other links and whatever else is no file or folder, and what lies too deep."""


def find(root: Path, texts: tuple[str, ...], *, bytes_max: int, check: Callable[[], None] = lambda: None) -> Found:
    """The files that the patterns choose; a chosen folder stands for all below it. Blocks; `check` is called now and
    then, and may raise.

    git's own folder is never entered: it is no work, and holds the addresses that a repository was fetched from.

    Raises:
        TooMuch: there are more files, or more bytes in them, than may be.
        OSError: the tree cannot be read.
    """
    globs = read_globs(texts)
    wanted = [_parts(text) for text in texts if not text.startswith("!")] or [["**"]]
    found, looked, whole = Found(), 0, set[str]()
    for at, folders, files, handle in os.fwalk(root, follow_symlinks=False):
        here = os.path.relpath(at, root)
        prefix = "" if here == "." else here + "/"
        below = prefix[:-1] in whole
        enter = []
        for name in sorted(folders):
            looked += 1
            if looked % _CHECK_EVERY == 0:
                check()
            path = prefix + name
            chosen = (below and not _excluded(globs, path)) or globs.match(path)
            if path == GIT:
                continue
            deep = path.count("/") >= DEPTH_MAX - 1 or _is_long(path)
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode) and chosen:
                _take_link(found, path, os.readlink(name, dir_fd=handle))
            elif not stat.S_ISDIR(status.st_mode) or deep:
                found.left_out += chosen
            elif chosen or any(_may_hold(parts, path.split("/")) for parts in wanted):
                enter.append(name)
                if chosen:
                    whole.add(path)
                    found.folders.append(path)
                    if len(found.folders) > FOLDERS_MAX:
                        raise TooMuch(f"there are more than {FOLDERS_MAX} folders")
        folders[:] = enter
        for name in sorted(files):
            looked += 1
            if looked % _CHECK_EVERY == 0:
                check()
            path = prefix + name
            if (below and not _excluded(globs, path)) or globs.match(path):
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    _take_link(found, path, os.readlink(name, dir_fd=handle))
                else:
                    _take(found, path, status, bytes_max)
        if looked > LOOKED_MAX:
            raise TooMuch(f"there are more than {LOOKED_MAX} files and folders in the work tree")
    found.files.sort()
    found.folders.sort()
    found.links.sort()
    return found


def _take(found: Found, path: str, status: os.stat_result, bytes_max: int) -> None:
    if not stat.S_ISREG(status.st_mode) or _is_long(path):
        found.left_out += 1
        return
    found.files.append(path)
    found.size += status.st_size
    _count(found)
    if found.size > bytes_max:
        raise TooMuch(f"there is more than {bytes_max // 1024**2} MiB")


def _take_link(found: Found, path: str, target: str) -> None:
    if _is_long(path) or not stays_inside(path, target):
        found.left_out += 1
        return
    found.links.append((path, target))
    _count(found)


def _count(found: Found) -> None:
    if len(found.files) + len(found.links) > FILES_MAX:
        raise TooMuch(f"there are more than {FILES_MAX} files")


def _is_long(path: str) -> bool:
    return len(os.fsencode(path)) > PATH_BYTES_MAX


def _parts(text: str) -> list[str]:
    return (text + "**" if text.endswith("/") else text).split("/")


def _excluded(globs: Globs, path: str) -> bool:
    return any(pattern.fullmatch(path) for pattern in globs.unwanted)


def _may_hold(pattern: list[str], folder: list[str]) -> bool:
    """Whether a folder may hold what the pattern matches; most trees are not walked as a whole."""
    for part, name in _both(pattern, folder):
        if part == "**":
            return True
        if not read_globs((part,)).match(name):
            return False
    return len(pattern) > len(folder)


def _both(pattern: list[str], folder: list[str]) -> Iterator[tuple[str, str]]:
    return zip(pattern, folder, strict=False)
