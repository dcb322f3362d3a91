"""Caches of jobs that run here and now, in a folder: it answers what runners ask a dispatcher, in the same words.

What belongs here: what is kept of one work tree's jobs, and what goes when there is too much. What does not: keys and
archives (`caching`), and who speaks (`transfer.courier`).

Several may use the folder at once: whatever has its name is whole, and what disappears meanwhile is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from surveil.core.keeping import HOME
from surveil.core.kept import named
from surveil.core.spelling import quoted
from surveil.execute.collect.caching import Caches
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.transfer.courier import Courier
from surveil.frozen import replace
from surveil.protocol import (
    CHUNK_BYTES_MAX,
    CacheFound,
    Deposit,
    Deposited,
    DoubtBlob,
    Fetch,
    KeepCache,
    Message,
    OnBulk,
    Piece,
    SeekCache,
)

SPACE_BYTES_MAX: Final = 10 * 1024**3
"""For all work trees together; beyond it those go that were not used for longest."""
_NAME_DIGITS: Final = 32
_NOTE: Final = ".json"
_BLOB: Final = ".tar"


class CachesHere:
    """Restores and keeps the caches of jobs of the work tree `tree` in the folder `folder`.

    What lies in the work tree itself stays as earlier runs left it, so only what jobs keep in their homes is looked at.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self._cupboard = Cupboard(folder, str(tree))
        courier = Courier(lambda said, _lost: courier.hear(_number(said), self._cupboard.answer(said)))
        self._caches = Caches(courier)

    def restore(self, work: Work) -> None:
        """Put into the job's home what there is."""
        self._caches.restore(_at_home(work))

    def __call__(self, work: Work, /) -> Collection:
        """Keep what a job that passed has there."""
        kept = self._caches(_at_home(work))
        self._cupboard.sweep()
        return kept


def _at_home(work: Work) -> Work:
    spec = work.assign.spec
    own = ((one, tuple(path for path in one.paths if path.startswith(HOME))) for one in spec.cache)
    cache = tuple(replace(one, paths=paths) for one, paths in own if paths)
    return Work(
        assign=replace(work.assign, spec=replace(spec, cache=cache)), outcome=work.outcome, workspace=work.workspace,
        since_ns=work.since_ns, unwanted=work.unwanted,
    )  # fmt: skip


def _number(said: OnBulk) -> int:
    return int(getattr(said, "id", 0))


class Cupboard:
    """The folder: a note for each key, which names a blob by its SHA-256, and the blobs."""

    def __init__(self, root: Path, tree: str) -> None:
        self._root = root
        self._tree = tree

    def answer(self, said: OnBulk) -> Message:
        """What a dispatcher would say."""
        try:
            match said:
                case SeekCache():
                    return self._seek(said)
                case Fetch():
                    return Piece(id=said.id, at=said.at, data=self._piece(said.blob, said.at))
                case Deposit():
                    return self._take(said)
                case KeepCache():
                    return self._note(said)
                case DoubtBlob():
                    self._blob(said.blob).unlink(missing_ok=True)
                    return Deposited(id=said.id, whole=True)
        except FileNotFoundError:
            return Piece(id=_number(said), at=0, problem="it is not there any more")
        except OSError as error:
            return Deposited(id=_number(said), problem=f"{self._root} cannot be used: {error.strerror or error}")
        raise AssertionError(f"no cache asks this: {said}")

    def sweep(self, bytes_max: int = SPACE_BYTES_MAX) -> None:
        """Remove what was not used for longest, until the rest has room; and what a killed process left half."""
        found = sorted(self._blobs(), key=lambda blob: -blob[1])
        size = 0
        for path, _, bytes_ in found:
            size += bytes_
            if size > bytes_max:
                path.unlink(missing_ok=True)
        for note in self._root.glob(f"*/*{_NOTE}"):
            if (fields := _read(note)) is None or not self._blob(fields["blob"]).exists():
                note.unlink(missing_ok=True)

    def _seek(self, said: SeekCache) -> CacheFound:
        notes = [(note, fields) for note, fields in self._notes(said) if self._blob(fields["blob"]).exists()]
        chosen = next((fields for _, fields in notes if fields["key"] == said.key), None)
        for beginning in said.restore_keys:
            chosen = chosen or next((fields for _, fields in notes if fields["key"].startswith(beginning)), None)
        if chosen is None:
            return CacheFound(id=said.id)
        blob = self._blob(chosen["blob"])
        os.utime(blob)
        return CacheFound(id=said.id, key=chosen["key"], blob=chosen["blob"], size=blob.stat().st_size)

    def _notes(self, said: SeekCache) -> list[tuple[Path, dict[str, Any]]]:
        """Those of the very same paths of this work tree, the newest first."""
        found = [(note, fields) for note in self._folder(said.paths).glob(f"*{_NOTE}") if (fields := _read(note))]
        return sorted(found, key=lambda one: -float(one[1]["at"]))

    def _piece(self, blob: str, at: int) -> bytes:
        handle = os.open(self._blob(blob), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(handle, CHUNK_BYTES_MAX, at)
        finally:
            os.close(handle)

    def _take(self, said: Deposit) -> Deposited:
        """A piece of a blob; pieces come in order here, and nothing is lost."""
        target = self._blob(said.blob)
        if target.exists():
            return Deposited(id=said.id, upto=said.size, whole=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() and (said.at or said.data) else "w+b") as file:
            file.seek(said.at)
            file.write(said.data)
            file.flush()
            upto = file.tell()
            if upto < said.size:
                return Deposited(id=said.id, upto=upto)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != said.blob:
                part.unlink()
                return Deposited(id=said.id, problem=f"the blob {quoted(said.blob)} is not what it is called")
        part.rename(target)
        return Deposited(id=said.id, upto=upto, whole=True)

    def _note(self, said: KeepCache) -> Deposited:
        folder = self._folder(said.paths)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = folder / f"{_short(said.key)}{_NOTE}"
        draft = note.with_suffix(f".{os.getpid()}")
        blob = self._blob(said.blob)
        fields = {"key": said.key, "blob": said.blob, "at": blob.stat().st_mtime}
        draft.write_text(json.dumps(fields), encoding="utf-8")
        draft.rename(note)
        return Deposited(id=said.id, whole=True)

    def _folder(self, paths: tuple[str, ...]) -> Path:
        return self._root / _short(f"{self._tree}\n{named(paths)}")

    def _blob(self, digest: str) -> Path:
        return self._root / f"{digest}{_BLOB}"

    def _blobs(self) -> Iterator[tuple[Path, float, int]]:
        for path in self._root.glob(f"*{_BLOB}"):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                yield path, found.st_mtime, found.st_size


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_NAME_DIGITS]


def _read(note: Path) -> dict[str, Any] | None:
    """A note; None where it is none any more."""
    try:
        fields = json.loads(note.read_text(encoding="utf-8"))
        return {"key": str(fields["key"]), "blob": str(fields["blob"]), "at": float(fields["at"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
