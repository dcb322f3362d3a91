"""What the three roles promised to be on disk by a moment, and whether a disk after a loss of power has it.

What belongs here: the marks of `workload`, added up, and looking at an image with the product's own readers. What does
not: doing the work, and drawing what is lost (`tests.disks`).
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from surveil.errors import SurveilError
from surveil.execute import files
from surveil.execute.identity import Tombstones, read_identity
from surveil.execute.logs.spool import SpoolReader
from surveil.hands.records import Records
from surveil.net.keys import load_keys
from surveil.places import LOGS
from surveil.store import wal
from surveil.store.checking import check
from surveil.store.log_paths import log_stem
from surveil.store.logs import LogStore, read_log
from surveil.store.sqlite import FILE, open_store

DISPATCHER: Final = "dispatcher"
RUNNER: Final = "runner"
OBSERVER: Final = "observer"
SPOOL: Final = "attempts"
BACKUP: Final = "backup"
REPO: Final = "/srv/repo"
BEHIND: Final = 3
"""An attempt ends so many commits after its own."""
PIECE_BYTES_MAX: Final = 6_000

_bodies: dict[str, bytes] = {}


def body(name: str, length: int) -> bytes:
    """The first bytes of what the log of this name is to hold: the same ones whenever they are asked for."""
    known = _bodies.get(name, b"")
    if len(known) < length:
        known = _bodies[name] = random.Random(name).randbytes(max(length, 64 * 1024, 2 * len(known)))
    return known[:length]


@dataclass(slots=True)
class Promises:
    """All that was acknowledged so far; each mark is one more."""

    commits: int = 0
    begun: int = 0
    """A commit that was asked for, and may or may not be there."""
    epoch: int = 0
    tokens: list[str] = field(default_factory=list)
    logs: dict[int, int] = field(default_factory=dict)
    """By build, how much of its log is kept."""
    closing: set[int] = field(default_factory=set)
    """Builds whose log is finished, or was about to be: it takes nothing more."""
    incarnation: int = 0
    tombstones: dict[str, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    """By attempt the length of its log, as its verdict says."""
    synced: dict[int, int] = field(default_factory=dict)
    refs: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    backups: int = 0

    def hear(self, text: str) -> None:
        """Take one mark in."""
        mark: dict[str, Any] = json.loads(text)
        for name, value in mark.items():
            known = getattr(self, name)
            if isinstance(known, dict):
                key = value[0] if name in {"tombstones", "keys"} else int(value[0])
                known[key] = value[1]
            elif isinstance(known, set):
                known.add(value)
            elif isinstance(known, list):
                known.append(value)
            else:
                setattr(self, name, value)


def broken(left: Path, promises: Promises, *, thorough: bool) -> list[str]:
    """A sentence for each promise that the disk in this folder does not keep. Starting the roles on it changes it.

    `thorough` opens the store as a dispatcher does and looks at every fact, which takes ten times as long.
    """
    found: list[str] = []
    looks: list[Callable[[Path, Promises], Iterator[str]]] = [_database, _logs, _runner, _spools, _observer, _keys]
    if thorough:
        looks += [_start, _backup]
    looks.append(_resumed_logs)
    for look in looks:
        try:
            found += look(left, promises)
        except (SurveilError, OSError, sqlite3.Error, ValueError, AssertionError) as error:
            found.append(f"{look.__name__}: {type(error).__name__}: {error}")
    return found


# ---- the dispatcher ---------------------------------------------------------------------------------------------


def _database(left: Path, promises: Promises) -> Iterator[str]:
    path = left / DISPATCHER / FILE
    if promises.epoch == 0:
        return
    if wal.is_damaged(path):
        yield "what a loss of power left is called damaged"
    with closing(sqlite3.connect(path)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            yield f"the database is damaged: {verdict}"
        builds = [row[0] for row in database.execute("SELECT id FROM builds ORDER BY id")]
        notes = [row[0] for row in database.execute("SELECT build FROM notes ORDER BY position")]
        ended = [row[0] for row in database.execute("SELECT build FROM attempts WHERE state = 'passed' ORDER BY build")]
        tokens = {row[0] for row in database.execute("SELECT id FROM tokens")}
        (epoch,) = database.execute("SELECT epoch FROM cluster").fetchone()
    reached = len(builds)
    if not promises.commits <= reached <= max(promises.begun, promises.commits):
        yield f"{reached} builds are there, while {promises.commits} were acknowledged of {promises.begun}"
    if not builds == notes == list(range(1, reached + 1)):
        yield f"a transaction is there in part: builds {builds}, journal {notes}"
    if ended != list(range(1, max(0, reached - BEHIND) + 1)):
        yield f"verdicts are missing or too many: {ended} of {reached}"
    if not set(promises.tokens) <= tokens:
        yield f"tokens are missing: {set(promises.tokens) - tokens}"
    if epoch < promises.epoch:
        yield f"the epoch fell from {promises.epoch} to {epoch}"


def _logs(left: Path, promises: Promises) -> Iterator[str]:
    for build, kept in promises.logs.items():
        found = read_log(log_stem(left / DISPATCHER / LOGS, f"{build}/test", 1), 0, 1 << 30)
        if found.damaged or found.length < kept or found.data != body(f"log {build}", found.length):
            yield (
                f"the log of build {build} has {found.length} bytes of {kept} that were kept, "
                f"damaged: {found.damaged}, a prefix: {found.data == body(f'log {build}', found.length)}"
            )


def _resumed_logs(left: Path, promises: Promises) -> Iterator[str]:
    """What a runner does next: it says again what was not kept, and more."""
    root = left / DISPATCHER / LOGS
    for build, kept in promises.logs.items():
        if build in promises.closing:
            continue
        with closing(LogStore(root)) as logs:
            length, end = logs.length(f"{build}/test", 1), kept + PIECE_BYTES_MAX
            if length < kept:
                yield f"the log of build {build} is shorter than what was kept of it"
                continue
            rest = body(f"log {build}", end)[kept:]
            if logs.append(f"{build}/test", 1, kept, rest, crc=crc32(rest), after_ms=1) < end:
                yield f"the log of build {build} does not go on where it was kept"
            logs.flush()
            if not logs.finish(f"{build}/test", 1, end):
                yield f"the log of build {build} cannot be finished"
            found = logs.read(f"{build}/test", 1, 0, end)
            if found.damaged or found.data != body(f"log {build}", end):
                yield f"the log of build {build} is wrong when it was finished"


def _start(left: Path, promises: Promises) -> Iterator[str]:
    if promises.epoch == 0:
        return
    data = left / DISPATCHER
    with closing(open_store(data, now=1)) as store:
        if store.cluster.epoch <= promises.epoch:
            yield f"a start has epoch {store.cluster.epoch}, which was used"
        store.load()
    yield from check(data).problems


def _backup(left: Path, promises: Promises) -> Iterator[str]:
    for number in range(1, promises.backups + 1):
        yield from check(left / BACKUP / str(number)).problems


# ---- runner and observer ----------------------------------------------------------------------------------------


def _runner(left: Path, promises: Promises) -> Iterator[str]:
    data = left / RUNNER
    if not data.exists():
        return
    if read_identity(data).incarnation < promises.incarnation:
        yield f"the incarnation fell below {promises.incarnation}"
    with closing(Tombstones(data)) as tombstones:
        for job, number in promises.tombstones.items():
            if tombstones.known.get(job, 0) < number:
                yield f"the tombstone of {job} attempt {number} is forgotten"


def _spools(left: Path, promises: Promises) -> Iterator[str]:
    """What is there of an attempt is sound; that it is there at all is promised by its verdict's being said again."""
    for attempt, folder in ((int(path.name), path) for path in (left / RUNNER / SPOOL).glob("*")):
        status = files.read_status(str(folder))
        spool = folder / files.SPOOL
        if status is not None and (status.outcome != "passed" or status.log_bytes != promises.ended.get(attempt)):
            yield f"the verdict of attempt {attempt} was never said: {status}"
        if not spool.exists():
            if status is not None:
                yield f"the verdict of attempt {attempt} is there without its log"
            continue  # Its folder's names are on the platter with its verdict, and not before.
        with closing(SpoolReader(str(spool))) as reader:
            length = reader.look()
            found, synced = b"", promises.synced.get(attempt, 0)
            # What was not on the platter may be torn, and is then known to be.
            with contextlib.suppress(ValueError):
                while (chunk := reader.read(len(found), length)) is not None:
                    found += chunk.data
            if found != body(f"spool {attempt}", len(found)):
                yield f"the spool of attempt {attempt} holds other bytes"
            if len(found) < (status.log_bytes if status is not None else synced):
                yield f"the spool of attempt {attempt} has {len(found)} bytes, while {synced} were on the platter"


def _observer(left: Path, promises: Promises) -> Iterator[str]:
    if not promises.refs:
        return
    record = Records(left / OBSERVER).read(REPO)
    if record is None or int(record.refs["refs/heads/main"], 16) < promises.refs:
        yield f"what was acknowledged up to {promises.refs} is forgotten: {record}"


def _keys(left: Path, promises: Promises) -> Iterator[str]:
    for path, public in promises.keys.items():
        if load_keys(left / path).public != public:
            yield f"the key {path} is another one"
