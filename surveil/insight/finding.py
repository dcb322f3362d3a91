"""Finds the reports in a work tree: which files, and only such as the job's own steps wrote.

What belongs here: walking, opening. What does not: what is in a file (`junit`, `tap`).

A work tree is whatever its job made of it. No link is followed, nothing but plain files is opened, and every walk ends.
A report that is older than the job's first step was not written by it: it came with the commit, or out of a cache.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from surveil.core.declared import REPORTS_USUAL
from surveil.core.globs import Globs, read_globs
from surveil.frozen import dataclass
from surveil.insight import Problem

PRUNED: Final = frozenset(
    {".git", ".hg", ".nox", ".tox", ".venv", "__pycache__", "node_modules", "site-packages", "venv"}
)
"""Folders with the files of others, in which no report is looked for unless a pattern says so."""
ENTRIES_MAX: Final = 500_000
DEPTH_MAX: Final = 64
REPORTS_MAX: Final = 5_000
REPORT_BYTES_MAX: Final = 512 * 1024 * 1024
PIECE_BYTES: Final = 256 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was found, open; or the `problem` with it."""

    path: str
    file: IO[bytes] | None
    problem: Problem | None = None


def find(root: Path, patterns: Sequence[str], *, since_ns: int) -> Iterator[Report]:
    """The reports below `root` by these patterns, in order, each open until the next one is asked for. `since_ns` is
    the beginning of the job's first step. Of the usual places nothing is said where nothing is.

    Raises:
        ValueError: a pattern can match nothing, as a clause says.
        OSError: there is no such folder.
    """
    usual = is_usual(patterns)
    single = {pattern: read_globs((pattern,)) for pattern in patterns if not pattern.startswith("!") and not usual}
    unmatched = dict(single)
    count = 0
    top = os.open(root, _FOLDER)
    try:
        for path, folder, name in _Walk(read_globs(tuple(patterns)), patterns, pruned=usual).below(top):
            unmatched = {pattern: globs for pattern, globs in unmatched.items() if not globs.match(path)}
            report = _opened(_shown(path), folder, name, since_ns, quiet=usual)
            if report is None:
                continue
            with report.file or contextlib.nullcontext():
                count += 1
                if count > REPORTS_MAX:
                    problem = Problem(f"it is one of more than {REPORTS_MAX} reports, and was not read")
                    yield Report(_shown(path), None, problem)
                    return
                yield report
    finally:
        os.close(top)
    for pattern in unmatched:
        yield Report(pattern, None, Problem("no file matches this pattern of `reports`"))


def is_usual(patterns: Sequence[str]) -> bool:
    """Whether nobody said where the reports are."""
    return tuple(patterns) == REPORTS_USUAL


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a report."""
    left = REPORT_BYTES_MAX
    while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
        left -= len(piece)
        yield piece


class _Walk:
    """Goes through a work tree, with one folder after another open, and never through a link."""

    def __init__(self, globs: Globs, patterns: Sequence[str], *, pruned: bool) -> None:
        self._globs = globs
        self._ways = [pattern.split("/")[:-1] for pattern in patterns if not pattern.startswith("!")]
        self._pruned = pruned
        self._left = ENTRIES_MAX

    def below(self, folder: int, path: tuple[str, ...] = ()) -> Iterator[tuple[str, int, str]]:
        """The paths that match, each with its folder, open, and its name in it."""
        prefix = "".join(f"{part}/" for part in path)
        names: list[str] = []
        folders: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    return
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif self._globs.match(prefix + entry.name):
                    names.append(entry.name)
        for name in sorted(names):
            yield prefix + name, folder, name
        for name in sorted(folders):
            if self._leads_on((*path, name)):
                yield from self._enter(folder, (*path, name))

    def _enter(self, folder: int, path: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
        try:
            inner = os.open(path[-1], _FOLDER, dir_fd=folder)
        except OSError:
            return  # Whoever made it let nobody in, or took it away.
        try:
            yield from self.below(inner, path)
        finally:
            os.close(inner)

    def _leads_on(self, path: tuple[str, ...]) -> bool:
        """Whether a folder may hold what matches."""
        if len(path) > DEPTH_MAX or path[-1] == ".git" or (self._pruned and path[-1] in PRUNED):
            return False
        return any(_leads(way, path) for way in self._ways)


def _leads(way: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a pattern's folders may go through this one."""
    for wanted, part in zip(way, path, strict=False):
        if wanted == "**":
            return True
        if wanted != part and not set(wanted) & set("*?"):
            return False
    return len(path) <= len(way)


def _opened(path: str, folder: int, name: str, since_ns: int, *, quiet: bool) -> Report | None:
    """Open a report; `quiet` says nothing of what is none of this job's."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        return Report(path, None, Problem(f"it cannot be read: {error.strerror}"))
    found = os.fstat(descriptor)
    problem: str | None = None
    if not stat.S_ISREG(found.st_mode):
        problem = "it is no file"
    elif found.st_mtime_ns < since_ns:
        problem = "it is older than the job's first step, so this attempt did not write it"
    elif found.st_size > REPORT_BYTES_MAX:
        problem = f"it has {found.st_size} bytes, and only the first {REPORT_BYTES_MAX // 1024**2} MiB are read"
        return Report(path, os.fdopen(descriptor, "rb"), Problem(problem))
    if problem is None:
        return Report(path, os.fdopen(descriptor, "rb"))
    os.close(descriptor)
    return None if quiet else Report(path, None, Problem(problem))


def _shown(path: str) -> str:
    """A path as text, whatever bytes its name has."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
