"""Bringing an artifact to this machine: its archive piece by piece, compared with its digest, and then unpacked.

What belongs here: one artifact on its way into a folder. What does not: which are wanted (`artifacts`), and what an
archive may hold (`surveil.execute.archives.unpacking`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from surveil.errors import InfrastructureError
from surveil.execute.archives.unpacking import ArchiveRefused, unpack
from surveil.frozen import dataclass
from surveil.protocol import BLOB_BYTES_MAX

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher

PART: Final = ".part"
_READ_BYTES: Final = 1024 * 1024
_NAME_DIGITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artifact that is here."""

    artifact: Mapping[str, Any]
    folder: Path

    def document(self) -> dict[str, Any]:
        """For `--json`: the artifact, and where it is."""
        return {**self.artifact, "folder": str(self.folder)}


def fetch(dispatcher: Dispatcher, artifact: Mapping[str, Any], folder: Path) -> Fetched:
    """Bring an artifact into a folder, which is made whole or not at all.

    Raises:
        InfrastructureError: the disk does not take it, or it is not what was kept.
        SurveilError: the dispatcher's own sentence.
    """
    digest = str(artifact["sha256"])
    part = folder.parent / f".{digest[:_NAME_DIGITS]}{PART}"
    draft = folder.parent / f".{digest[:_NAME_DIGITS]}.new"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetch_archive(dispatcher, artifact, part)
        with part.open("rb") as file:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            unpack(file, draft, bytes_max=BLOB_BYTES_MAX)
        draft.rename(folder)
        part.unlink()
    except ArchiveRefused as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise InfrastructureError(
            f"The artifact `{artifact['name']}` of {artifact['job']} is not unpacked: {error}; its archive is {part}."
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"The artifact `{artifact['name']}` cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return Fetched(artifact=artifact, folder=folder)


def fetch_archive(dispatcher: Dispatcher, artifact: Mapping[str, Any], path: Path) -> None:
    """Bring an artifact's archive into a file, and compare it with its digest; what is there of it already is not
    fetched again.

    Raises:
        InfrastructureError: the disk does not take it, or it is not what was kept.
        SurveilError: the dispatcher's own sentence.
    """
    try:
        with path.open("a+b") as file:
            _bring(dispatcher, artifact, file, int(artifact["size"]))
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() == artifact["sha256"]:
                return
        path.unlink()
    except OSError as error:
        raise InfrastructureError(
            f"The artifact `{artifact['name']}` cannot be written to {path}: {error.strerror or error}."
        ) from error
    raise InfrastructureError(
        f"The artifact `{artifact['name']}` of {artifact['job']} arrived damaged, or was damaged on the dispatcher's "
        "disk: type the command again, and if that does not help, `surveil retry`."
    )


def _bring(dispatcher: Dispatcher, artifact: Mapping[str, Any], file: IO[bytes], size: int) -> None:
    """Append what is not here yet."""
    at = os.fstat(file.fileno()).st_size
    if at > size:
        file.truncate(0)
        at = 0
    about = {"job": artifact["job"], "attempt": artifact["attempt"], "name": artifact["name"]}
    for data in dispatcher.follow_artifact(about, at, size):
        file.write(data)
    file.flush()
