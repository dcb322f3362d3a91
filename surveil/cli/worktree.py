"""The pipeline of the work tree around the current folder: its file, or what zero-configuration makes of its files.

What belongs here: finding and reading it from disk. What does not: the same for a commit (`commits`), and what the
text means (`surveil.pipeline`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surveil.core.spelling import printable
from surveil.errors import InvalidError, NotFoundError
from surveil.frozen import dataclass
from surveil.pipeline import FILENAMES, Invalid, Pipeline, load
from surveil.protocol import PIPELINE_BYTES_MAX, IncludedFile

STANDARD_INPUT: Final = "-"
ROOT_FILE_BYTES_MAX: Final = 256 * 1024
"""What detection reads of one file at the root, as for commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A pipeline's text and where it is from: `rule` is empty for a file, and what was recognised where there is
    none.
    """

    text: bytes
    filename: str
    rule: str

    def load(self, typed: Mapping[str, str] | None = None) -> Pipeline | Invalid:
        """The pipeline, or complaints. The files that it includes are looked for from the root of the work tree;
        `typed` are its inputs, None where nobody is asked for any.
        """
        from surveil.pipeline.including import gather

        root = root_of(Path.cwd())
        includes = gather(self.text, lambda paths: [_read_included(root, path) for path in paths])
        return load(self.text, self.filename, includes, typed)


def root_of(folder: Path) -> Path:
    """The root of the work tree that holds `folder`; the folder itself where there is no repository."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return folder


def read_source(file: str | None) -> Source:
    """Read FILE, or standard input for `-`; without a name the pipeline file of this work tree, or what detection
    writes in its stead.

    Raises:
        NotFoundError: the file is not there or cannot be read.
        InvalidError: the work tree's file is a link or a folder, or there is none and nothing was recognised.
    """
    if file is not None:
        return Source(text=_read(file), filename="standard input" if file == STANDARD_INPUT else file, rule="")
    root = root_of(Path.cwd())
    for name in FILENAMES:
        path = root / name
        if path.is_symlink() or path.is_dir():
            # As with a commit: elsewhere a link could lead to any file of that machine.
            raise InvalidError(f"{path} is a link or a folder; make it a regular file.")
        if path.is_file():
            return Source(text=_read(str(path)), filename=name, rule="")
    return detect_source(root)


def detect_source(root: Path) -> Source:
    """What zero-configuration would run for the files in `root`. Raises InvalidError where it recognises nothing."""
    # Most work trees have a pipeline file.
    from surveil.pipeline.detect import READ_FILES, Detected, Nothing, detect

    files = {entry.name: _text_of(entry) if entry.name in READ_FILES else None for entry in root.iterdir()}
    match detect(files):
        case Detected(rule=rule, text=text):
            return Source(text=text.encode(), filename=FILENAMES[0], rule=rule)
        case Nothing(sentence=sentence):
            raise InvalidError(f"{root}: {sentence}")


def _read(file: str) -> bytes:
    """At most a byte more than a pipeline may have, which is enough to be told so."""
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read(PIPELINE_BYTES_MAX + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(PIPELINE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(
            f"{printable(file)} cannot be read: {error.strerror}; `surveil init` writes a pipeline file."
        ) from error


def _read_included(root: Path, path: str) -> IncludedFile:
    """As of a commit: a link could lead anywhere."""
    file = root / path
    if not file.is_file():
        problem = "is a link or a folder; make it a regular file" if file.exists() else "is no file of this work tree"
        return IncludedFile(path=path, problem=problem)
    if file.resolve() != root.resolve() / path:
        return IncludedFile(path=path, problem="is a link, or behind one; make it a regular file")
    try:
        with file.open("rb") as opened:
            body = opened.read(PIPELINE_BYTES_MAX + 1)
        if len(body) > PIPELINE_BYTES_MAX:
            return IncludedFile(path=path, problem=f"has more than {PIPELINE_BYTES_MAX} bytes, which are allowed")
        return IncludedFile(path=path, text=body.decode("utf-8-sig"))
    except OSError as error:
        return IncludedFile(path=path, problem=f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return IncludedFile(path=path, problem=f"is not UTF-8 (byte {error.start}); save it as UTF-8")


def _text_of(entry: Path) -> str | None:
    if not entry.is_file() or entry.stat().st_size > ROOT_FILE_BYTES_MAX:
        return None
    try:
        return entry.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # As with a commit: what cannot be read as text says nothing about how to test it.
        return None
