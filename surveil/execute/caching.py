"""Caches on the runner: what earlier jobs left is put into the work tree before the first step, and what this one made
is left for others when it has passed.

What belongs here: keys, what is restored, what is kept, and what is said where either cannot be. What does not:
archives (`packing`, `unpacking`), bringing and fetching them (`courier`, `fetching`), and who may find what
(`hands.depot`).

A cache is a convenience: whatever is wrong with one makes it a miss, which the job's remarks tell, and never a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from surveil.core.hashes import fill_hashes
from surveil.core.keeping import HOME
from surveil.core.spelling import quoted
from surveil.execute import files
from surveil.execute.beneath import Beneath
from surveil.execute.collecting import Collection, Work
from surveil.execute.courier import Courier, CourierError
from surveil.execute.fetching import fetch
from surveil.execute.finding import TooMuch, find
from surveil.execute.packing import pack
from surveil.execute.unpacking import ArchiveRefused, unpack
from surveil.execute.workspace import Workspace
from surveil.protocol import (
    BLOB_BYTES_MAX,
    Assign,
    CacheFound,
    CacheSpec,
    Deposited,
    DoubtBlob,
    Fetch,
    KeepCache,
    SeekCache,
)

RESTORE_S: Final = 600.0
"""So long restoring may take; whoever waits longer is quicker without."""
ABSENT_S: Final = 20.0
"""So long a dispatcher is waited for that does not say what there is."""
HASHED_BYTES_MAX: Final = 1024**3
NOTE: Final = "caches.json"
"""In the root of the workspace: the keys as they were before the first step, and what was found under them."""
_READ_BYTES: Final = 1024 * 1024
_WORK: Final = "work"
_HOME: Final = "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restored:
    """What became of one cache before the first step: its key, whether it was found under that very key, and a remark
    where something was wrong.
    """

    key: str
    exact: bool = False
    remark: str = ""


class Caches:
    """Restores and keeps caches through a courier."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    # ---- before the first step ----

    def restore(self, work: Work) -> None:
        """Put into the workspace what there is. Blocks; raises Unwanted.

        Nothing that goes wrong with a cache is raised: it is remarked when the job has ended.
        """
        assign, workspace, check = work.assign, work.workspace, work.check
        if not assign.spec.cache:
            return
        done: list[_Restored] = []
        for spec in assign.spec.cache:
            try:
                keyed = _keyed(spec, workspace.work, check)
            except (TooMuch, OSError) as error:
                done.append(_Restored(key="", remark=f"its key cannot be made: {error}"))
                continue
            done.append(self._restore(assign, workspace, keyed, check))
        note = {"caches": [asdict(one) for one in done]}
        with contextlib.suppress(OSError):
            files.write_fields(str(workspace.root / NOTE), note, sync=False)

    def _restore(self, assign: Assign, workspace: Workspace, spec: CacheSpec, check: Callable[[], None]) -> _Restored:
        seek = partial(
            SeekCache, job=assign.job, attempt=assign.attempt, key=spec.key, restore_keys=spec.restore_keys,
            paths=spec.paths,
        )  # fmt: skip
        try:
            patient = _until(ABSENT_S, "the dispatcher does not say what there is", check)
            found = self._courier.ask(lambda number: seek(id=number), CacheFound, patient)
            if not found.key:
                return _Restored(key=spec.key)
            patient = _until(RESTORE_S, f"it took longer than {RESTORE_S / 60:g} minutes", check)
            return self._put(assign, workspace, spec, found, patient)
        except CourierError as error:
            return _Restored(key=spec.key, remark=f"it is not restored: {error}")
        except OSError as error:
            return _Restored(key=spec.key, remark=f"it is not restored: {error.strerror or error}")

    def _put(
        self, assign: Assign, workspace: Workspace, spec: CacheSpec, found: CacheFound, check: Callable[[], None]
    ) -> _Restored:
        with tempfile.TemporaryFile(dir=workspace.root) as file:
            blob = Fetch(id=0, job=assign.job, attempt=assign.attempt, blob=found.blob, at=0)
            fetch(self._courier, blob, found.size, file, check)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != found.blob:
                doubt = partial(DoubtBlob, job=assign.job, attempt=assign.attempt, blob=found.blob)
                self._courier.ask(lambda number: doubt(id=number), Deposited, check)
                return _Restored(key=spec.key, remark=f"what was kept under {quoted(found.key)} is damaged")
            wanted = partial(_is_of, [_inside(path) for path in spec.paths])
            file.seek(0)
            try:
                unpack(file, workspace.root, bytes_max=BLOB_BYTES_MAX, wanted=wanted, replace=True, check=check)
            except ArchiveRefused as error:
                return _Restored(key=spec.key, remark=f"what was kept under {quoted(found.key)} is not used: {error}")
        return _Restored(key=spec.key, exact=found.key == spec.key)

    # ---- after the last step ----

    def __call__(self, work: Work, /) -> Collection:
        """Keep the promise of a collector: leave for others what a job that passed has made and did not find."""
        remarks = []
        for spec, restored in zip(work.assign.spec.cache, _noted(work), strict=True):
            name = quoted(restored.key or spec.key)
            if restored.remark:
                remarks.append(f"cache {name}: {restored.remark}")
            if restored.key and not restored.exact and work.outcome == "passed":
                problem = self._keep(work, spec, restored.key)
                if problem:
                    remarks.append(f"cache {name}: it is not kept: {problem}")
        return Collection(remarks=tuple(remarks))

    def _keep(self, work: Work, spec: CacheSpec, key: str) -> str:
        """Why it could not be kept; nothing where it was, or where there is nothing to keep."""
        root, (job, attempt) = work.workspace.root, work.id
        try:
            chosen, folders = _below(root, spec.paths, work.check)
            if not chosen:
                return ""
            with tempfile.TemporaryFile(dir=root) as file:
                packed = pack(root, chosen, folders, file, work.check)
                file.flush()
                if packed.size > BLOB_BYTES_MAX:
                    return f"there is more than {BLOB_BYTES_MAX // 1024**2} MiB"
                self._courier.bring(work.id, file, packed, work.check)
            note = partial(
                KeepCache, job=job, attempt=attempt, key=key, paths=spec.paths, blob=packed.digest, size=packed.size
            )
            self._courier.ask(lambda number: note(id=number), Deposited, work.check)
        except (TooMuch, CourierError) as error:
            return str(error)
        except OSError as error:
            return f"its files cannot be packed: {error.strerror or error}"
        return ""


def _until(wait_s: float, sentence: str, check: Callable[[], None]) -> Callable[[], None]:
    """A check that also ends what takes longer than that."""
    over_at = time.monotonic() + wait_s

    def checked() -> None:
        check()
        if time.monotonic() >= over_at:
            raise CourierError(sentence)

    return checked


def _keyed(spec: CacheSpec, tree: Path, check: Callable[[], None]) -> CacheSpec:
    """The same with its hashes filled in. Raises TooMuch and OSError."""
    known: dict[tuple[str, ...], str] = {}

    def name_of(texts: tuple[str, ...]) -> str:
        if texts not in known:
            known[texts] = hash_of(tree, texts, check)
        return known[texts]

    keys = tuple(fill_hashes(key, name_of) for key in spec.restore_keys)
    return CacheSpec(key=fill_hashes(spec.key, name_of), restore_keys=keys, paths=spec.paths)


def hash_of(tree: Path, texts: tuple[str, ...], check: Callable[[], None]) -> str:
    """A name for the paths and the content of the files that the patterns choose; where there are none, of nothing.

    Raises TooMuch and OSError.
    """
    found = find(tree, texts, bytes_max=HASHED_BYTES_MAX, check=check)
    total = hashlib.sha256()
    with Beneath(tree) as beneath:
        for path in found.files:
            handle = beneath.read(path.split("/"))
            try:
                content = hashlib.sha256()
                while data := os.read(handle, _READ_BYTES):
                    content.update(data)
            finally:
                os.close(handle)
            total.update(os.fsencode(path) + b"\0" + content.digest())
    return total.hexdigest()


def _inside(path: str) -> str:
    """Where a cached path lies below the root of the workspace."""
    return f"{_HOME}/{path.removeprefix(HOME)}" if path.startswith(HOME) else f"{_WORK}/{path}"


def _is_of(paths: Sequence[str], path: str) -> bool:
    """Whether a path is one of these, or lies in or above one of them."""
    return any(path == one or path.startswith(one + "/") for one in paths)


def _below(root: Path, paths: Sequence[str], check: Callable[[], None]) -> tuple[list[str], list[str]]:
    """The files and folders of these paths, as they lie below the root of the workspace. Raises TooMuch and OSError."""
    chosen: list[str] = []
    folders: list[str] = []
    for part, own in (
        (_WORK, [path for path in paths if not path.startswith(HOME)]),
        (_HOME, [path.removeprefix(HOME) for path in paths if path.startswith(HOME)]),
    ):
        if own:
            found = find(root / part, tuple(own), bytes_max=BLOB_BYTES_MAX, check=check)
            chosen += [f"{part}/{path}" for path in found.files]
            folders += [f"{part}/{path}" for path in found.folders]
    return chosen, folders


def _noted(work: Work) -> list[_Restored]:
    """What was noted before the first step; a note that is not there, or that a step made, is a key of nothing."""
    nothing = [_Restored(key="") for _ in work.assign.spec.cache]
    try:
        fields = files.read_fields(str(work.workspace.root / NOTE))["caches"]
        noted = [_Restored(key=str(one["key"]), exact=bool(one["exact"]), remark=str(one["remark"])) for one in fields]
    except (OSError, ValueError, KeyError, TypeError):
        return nothing
    return noted if len(noted) == len(nothing) else nothing
