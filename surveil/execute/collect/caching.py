"""Caches on the runner: what earlier jobs left is put into the work tree before the first step, and what this one made
is left for others when it has passed.

What belongs here: keys, what is restored, what is kept, and what is said where either cannot be. What does not:
archives (`archives`), bringing and fetching them (`transfer`), and who may find what (`hands.lending`).

A cache is a convenience: whatever is wrong with one makes it a miss, which the job's remarks tell, and never a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from surveil.core.hashes import fill_hashes
from surveil.core.keeping import HOME
from surveil.core.spelling import quoted
from surveil.execute import files
from surveil.execute.archives.beneath import Beneath
from surveil.execute.archives.finding import Found, TooMuch, find
from surveil.execute.archives.packing import pack
from surveil.execute.archives.unpacking import ArchiveRefused, unpack
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.transfer.courier import Courier, CourierError
from surveil.execute.transfer.fetching import fetch
from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass
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
    """What became of one cache before the first step: its key, what it was found under, and a remark where something
    was wrong.
    """

    key: str
    found: str = ""
    remark: str = ""

    @property
    def exact(self) -> bool:
        """Whether it was found under its very key."""
        return bool(self.key) and self.key == self.found


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
            if fetch(self._courier, blob, found.size, file, check) != found.blob:
                doubt = partial(DoubtBlob, job=assign.job, attempt=assign.attempt, blob=found.blob)
                self._courier.ask(lambda number: doubt(id=number), Deposited, check)
                return _Restored(key=spec.key, remark=f"what was kept under {quoted(found.key)} is damaged")
            wanted = partial(_is_of, [_inside(path) for path in spec.paths])
            file.seek(0)
            try:
                unpack(
                    file, workspace.root, bytes_max=BLOB_BYTES_MAX, wanted=wanted, replace=True, links_below=1,
                    check=check,
                )  # fmt: skip
            except ArchiveRefused as error:
                return _Restored(key=spec.key, remark=f"what was kept under {quoted(found.key)} is not used: {error}")
        return _Restored(key=spec.key, found=found.key)

    # ---- after the last step ----

    def __call__(self, work: Work, /) -> Collection:
        """Keep the promise of a collector: leave for others what a job that passed has made and did not find."""
        remarks = []
        for spec, restored in zip(work.assign.spec.cache, _noted(work), strict=True):
            if restored.exact:
                continue  # As it should be, so there is nothing to say.
            said = [restored.remark or _found(restored)]
            if restored.key and work.outcome == "passed":
                said.append(self._keep(work, spec, restored.key))
            remarks.append(f"cache {quoted(restored.key or spec.key)}: {'; '.join(said)}")
        return Collection(remarks=tuple(remarks))

    def _keep(self, work: Work, spec: CacheSpec, key: str) -> str:
        """Leave it for others; returns what became of that."""
        root, (job, attempt) = work.workspace.root, work.id
        try:
            found = _below(root, spec.paths, work.check)
            if not found.files:
                return f"it is not kept: there is nothing at {', '.join(map(quoted, spec.paths))}"
            with tempfile.TemporaryFile(dir=root) as file:
                packed = pack(root, found.files, found.folders, file, work.check, links=found.links)
                file.flush()
                if packed.size > BLOB_BYTES_MAX:
                    return f"it is not kept: there is more than {BLOB_BYTES_MAX // 1024**2} MiB"
                self._courier.bring(work.id, file, packed, work.check)
            note = partial(
                KeepCache, job=job, attempt=attempt, key=key, paths=spec.paths, blob=packed.digest, size=packed.size
            )
            self._courier.ask(lambda number: note(id=number), Deposited, work.check)
        except (TooMuch, CourierError) as error:
            return f"it is not kept: {error}"
        except OSError as error:
            return f"it is not kept: its files cannot be packed: {error.strerror or error}"
        return f"it is kept, {packed.files} file{'' if packed.files == 1 else 's'}"


def _found(restored: _Restored) -> str:
    return f"what was there is of {quoted(restored.found)}" if restored.found else "it was not there"


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


def _below(root: Path, paths: Sequence[str], check: Callable[[], None]) -> Found:
    """What lies at these paths, as it lies below the root of the workspace. Raises TooMuch and OSError."""
    all_ = Found()
    for part, own in (
        (_WORK, [path for path in paths if not path.startswith(HOME)]),
        (_HOME, [path.removeprefix(HOME) for path in paths if path.startswith(HOME)]),
    ):
        if own:
            found = find(root / part, tuple(own), bytes_max=BLOB_BYTES_MAX, check=check)
            all_.files += [f"{part}/{path}" for path in found.files]
            all_.folders += [f"{part}/{path}" for path in found.folders]
            all_.links += [(f"{part}/{path}", target) for path, target in found.links]
    return all_


def _noted(work: Work) -> list[_Restored]:
    """What was noted before the first step; a note that is not there, or that a step made, is a key of nothing."""
    nothing = [_Restored(key="") for _ in work.assign.spec.cache]
    try:
        fields = files.read_fields(str(work.workspace.root / NOTE))["caches"]
        noted = [_Restored(key=str(one["key"]), found=str(one["found"]), remark=str(one["remark"])) for one in fields]
    except (OSError, ValueError, KeyError, TypeError):
        return nothing
    return noted if len(noted) == len(nothing) else nothing
