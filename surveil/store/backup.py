"""A copy of a data folder, made while a dispatcher runs on it, and good to start another one from.

What belongs here: copying. What does not: starting from a copy, which is opening it (`sqlite`): a copy knows that it
is one; and the small files beside the database, one by one (`neighbours`).

The database is copied first and the logs after it, so the copy has at least the log that its database speaks of. The
keys are part of the copy: without the server's key no runner would trust the dispatcher that starts from it. Guard it
like the folder itself.

The observer and the runners of `up` live in the folder as well. Of them the copy has who they are, because the database
lets nobody else in under their names, and which commits were reported; not their mirrors and work trees. What a
person wrote into the folder is not copied, nor is what jobs keep: both may be elsewhere as well, and whoever makes the
copy is told.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from surveil.disk import make_folder, sync_file, sync_folder
from surveil.errors import InvalidError
from surveil.frozen import dataclass
from surveil.places import BLOBS, LOGS, RULES, SIGN_IN
from surveil.store import Cluster, StoreError, codec
from surveil.store.failures import disk_failures
from surveil.store.log_live import DATA, INDEX
from surveil.store.log_packed import PART, SUFFIX
from surveil.store.log_paths import log_files
from surveil.store.neighbours import AFTER, BEFORE, all_aside, copy_moment, copy_neighbours, note_copy
from surveil.store.sqlite import FILE, database_path, open_reader

KEYS: Final = "keys"
OBSERVERS: Final = ("observer/keys", "observer/dispatcher.json", "observer/joined", "observer/refs")
"""Copied before the database: what it has and they have not is only said twice, but never lost."""
RUNNERS: Final = ("runners/*/keys", "runners/*/dispatcher.json", "runners/*/joined", "runners/*/identity.json")
"""Copied after the database: a runner's next start must be one that the database has not seen."""
LEFT_OUT: Final = (BLOBS, RULES, SIGN_IN)
_COPY: Final = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How much a backup holds. `left_out` names what is in the folder, belongs to the installation, and is not in the
    backup.
    """

    database_bytes: int
    neighbour_bytes: int
    logs: int
    log_bytes: int
    left_out: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """All of it but keys."""
        return self.database_bytes + self.neighbour_bytes + self.log_bytes


def backup(data: Path, destination: Path, *, now: int, database: str = "") -> Copied:
    """Copy a data folder to `destination`, which appears whole or not at all.

    Args:
        data: a dispatcher's data folder; one may run on it.
        destination: a folder that does not exist yet, or is empty.
        now: milliseconds since 1970, kept in the copy.
        database: as for `open_store`.

    Raises:
        InvalidError: the destination is taken, or there is no database of this version in `data`.
        StoreError: something cannot be read or written; the destination is not there.
    """
    with disk_failures(f"write the backup {destination}"):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise InvalidError(f"{destination} exists already: name a folder for the backup that does not")
        open_reader(data, database=database).close()
        with _draft(destination) as part:
            copied = _copy(data, part, database_path(data, database), now)
            if destination.exists():
                destination.rmdir()
            part.rename(destination)
            sync_folder(destination.parent)
    return copied


@contextmanager
def _draft(destination: Path) -> Iterator[Path]:
    """A new folder on the destination's disk, in one beside it that is ours alone until the end of the block, and then
    gone; so is what a killed backup left there.
    """
    room = destination.with_name(destination.name + PART)
    make_folder(room)
    # Not through a link: all secrets would go to wherever somebody lets it lead.
    handle = os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _claim(room, handle, destination)
        try:
            _empty(room)
            part = room / _COPY
            make_folder(part)
            yield part
        finally:
            shutil.rmtree(room, ignore_errors=True)
    finally:
        os.close(handle)


def _claim(room: Path, handle: int, destination: Path) -> None:
    """See that this folder is ours alone. Raises InvalidError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = room.exists() and os.path.samestat(os.fstat(handle), room.stat())
    except BlockingIOError:
        is_there = False
    if not is_there:
        raise InvalidError(f"another backup to {destination} is being made: wait for it, or name another folder")
    if os.fstat(handle).st_uid != os.geteuid():
        raise InvalidError(f"{room} belongs to somebody else, who could read the backup: remove it, or name a folder")
    os.fchmod(handle, 0o700)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _copy(data: Path, part: Path, source: Path, now: int) -> Copied:
    _copy_found(data, part, OBSERVERS)
    neighbour_bytes = copy_neighbours(data, part, BEFORE)
    _copy_database(source, part / FILE, now)
    neighbour_bytes += copy_neighbours(data, part, AFTER)
    note_copy(part, now=now)
    logs = log_bytes = 0
    for stem in _stems(data / LOGS):
        target = part / stem.relative_to(data)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_bytes += _copy_log(stem, target)
        logs += 1
    _copy_found(data, part, (KEYS, *RUNNERS))
    for folder, _, names in os.walk(part):
        for name in names:
            sync_file(Path(folder) / name)
        sync_folder(Path(folder))
    return Copied(
        database_bytes=(part / FILE).stat().st_size, neighbour_bytes=neighbour_bytes, logs=logs, log_bytes=log_bytes,
        left_out=(*(name for name in LEFT_OUT if _holds_something(data / name)), *all_aside(data)),
    )  # fmt: skip


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _copy_found(data: Path, part: Path, patterns: Sequence[str]) -> None:
    """Copy the files and folders that are there, with their modes. A hidden name is a draft that may vanish."""
    for path in (path for pattern in patterns for path in data.glob(pattern)):
        target = part / path.relative_to(data)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copy2(path, target)


def _copy_database(source: Path, target: Path, now: int) -> None:
    """Copy one moment of the database, and tell the copy that it is one."""
    copy_moment(source, target)
    try:
        with closing(sqlite3.connect(target)) as copy, copy:
            row = copy.execute("SELECT id, epoch, first_build FROM cluster").fetchone()
            values = codec.cluster_row(Cluster(id=row[0], epoch=row[1]), first_build=row[2], copied_at=now)
            copy.execute("UPDATE cluster SET copied_at = :copied_at, row_sum = :row_sum", values)
    except sqlite3.Error as error:
        raise StoreError(
            f"the database could not be copied to {target.parent} ({error}): look at the disk's free space"
        ) from error


def _stems(logs: Path) -> Iterator[Path]:
    for path in log_files(logs, (SUFFIX, INDEX)):
        yield path.with_name(path.name.removesuffix(SUFFIX).removesuffix(INDEX))


def _copy_log(stem: Path, target: Path) -> int:
    """Copy a log in whichever form it has; returns the bytes of its files."""
    # The index first: the bytes that it vouches for were durable before it, so they are in the copy.
    for suffixes in ((SUFFIX,), (INDEX, DATA), (SUFFIX,)):
        try:
            return sum(_copy_file(stem, target, suffix) for suffix in suffixes)
        except FileNotFoundError:
            continue
    raise StoreError(f"the log {stem} vanished while it was copied: make the backup again")


def _copy_file(stem: Path, target: Path, suffix: str) -> int:
    path = target.with_name(target.name + suffix)
    shutil.copyfile(stem.with_name(stem.name + suffix), path)
    path.chmod(0o600)
    return path.stat().st_size
