"""What an observer remembers from one start to the next: one small file for each repository, replaced as a whole.

What belongs here: the files' form, reading and writing them. What does not: what is worth remembering
(`core.observe`), keys and addresses (`net`).

A file that is lost or damaged costs a report too many: the repository is met as if for the first time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from surveil.core.observe_model import Record
from surveil.core.patterns import read_patterns
from surveil.disk import open_plain
from surveil.errors import InfrastructureError, UsageError
from surveil.net.keys import write_privately
from surveil.sealing import sealed, unsealed

VERSION: Final = 1
FILE_BYTES_MAX: Final = 128 * 1024 * 1024
"""200 000 refs with long names."""


class Records:
    """The records in one folder. Blocks; one thread at a time may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, repo: str) -> Path:
        """Where the record of this repository is."""
        return self._folder / (hashlib.sha256(repo.encode()).hexdigest()[:32] + ".json")

    def read(self, repo: str) -> Record | None:
        """The record of a repository; None if there is none.

        Raises:
            InfrastructureError: there is one, and it cannot be used; it was put aside.
        """
        path = self.path(repo)
        try:
            with open(path, "rb", opener=open_plain) as file:  # `Path.open` takes no opener.
                content = file.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                raise ValueError("it is too large")
            return _decode(content, repo)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError, UsageError) as problem:
            aside = path.with_suffix(".damaged")
            try:
                path.rename(aside)
            except OSError:
                aside = path
            raise InfrastructureError(
                f"{aside} does not hold what is remembered of {repo} ({problem}): it is met as if for the first time"
            ) from problem

    def write(self, record: Record) -> None:
        """Replace the record; it is on the disk when this returns.

        Raises:
            InfrastructureError: it cannot be written; the old one is as it was.
        """
        content = {
            "version": VERSION,
            "repo": record.repo,
            "patterns": record.patterns,
            "head_owed": record.head_owed,
            "refs": record.refs,
        }
        write_privately(self.path(record.repo), sealed(content) + b"\n", replace=True)


def _decode(content: bytes, repo: str) -> Record:
    found = unsealed(content)
    if found["version"] != VERSION:
        raise ValueError(f"it is of version {found['version']}, not {VERSION}")
    patterns, refs = found["patterns"], found["refs"]
    if not isinstance(patterns, list) or not isinstance(refs, dict):
        raise TypeError("a value is of the wrong type")
    if found["repo"] != repo or not isinstance(found["head_owed"], bool):
        raise ValueError("it is of another repository")
    if not all(isinstance(text, str) for text in (*patterns, *refs.keys(), *refs.values())):
        raise TypeError("a value is of the wrong type")
    read_patterns(patterns)
    return Record(repo=repo, patterns=tuple(patterns), head_owed=found["head_owed"], refs=refs)
