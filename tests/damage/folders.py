"""Data folders of all roles with something in every file, and what can be read of them.

What belongs here: making one, drawing damage, and looking at all of it through the product's own readers. What does
not: what is right (the tests).
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surveil.core.peers import Role
from surveil.errors import SurveilError
from surveil.execute import files
from surveil.execute.identity import Tombstones, read_identity
from surveil.execute.logs.spool import DamagedError, SpoolReader
from surveil.hands.dispatching import check_pair
from surveil.hands.records import Records
from surveil.net.addresses import parse_address
from surveil.net.keys import load_keys, make_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.places import KEYS, LOGS
from surveil.store.logs import LogStore
from surveil.store.sqlite import FILE, open_store
from tests.power.promises import DISPATCHER, OBSERVER, REPO, RUNNER, SPOOL
from tests.power.workload import Worker
from tests.store.records import make_peer, make_runner, make_secret, make_timetable, new

STEPS = 150


@dataclass(frozen=True, slots=True)
class Refused:
    """What a person is told instead."""

    sentence: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Bytes of which it is said that some are not what was written."""

    length: int


class _Quiet(Worker):
    def say(self, **_: object) -> None:
        """Nobody listens."""

    def restart_dispatcher(self) -> None:
        """The write-ahead log is to be long."""

    def back_up(self) -> None:
        """A copy is as good as the original."""


def make_folders(folder: Path) -> None:
    """Let all three roles work in a folder, and leave it as if they were killed."""
    work = folder.with_name("work")
    worker = _Quiet(work, random.Random(4))
    worker.start_dispatcher()
    worker.start_runner()
    worker.store.commit(new(make_runner()))
    worker.store.add_peer(make_peer(role=Role.OBSERVER))
    worker.store.put_secrets([make_secret()])
    worker.store.put_timetable("/srv/repo", make_timetable())
    for data in (DISPATCHER, RUNNER):
        known = KnownDispatcher(
            address=parse_address("tcp://box:7300"), server_key=make_keys().public, cluster="c" * 32, pid=4
        )
        known.save(work / data)
    worker.work(STEPS)
    # From here on the database is a file and a log.
    Worker.restart_dispatcher(worker)
    worker.work(STEPS)
    worker.remember()
    worker.entomb()
    while not (worker.spool is None and worker.attempts > 2):
        worker.attempt()
    worker.append()
    worker.flush()
    shutil.copytree(work, folder)


def damages(dice: random.Random, content: bytes) -> tuple[str, bytes]:
    """What was done to a file, and what it holds then: a flipped bit at a drawn place, and more seldom it was cut,
    emptied or overwritten.
    """
    kind = dice.choice(("flip",) * 6 + ("cut", "cut", "empty", "garbage"))
    size = len(content)
    if kind == "flip" and size:
        at = dice.randrange(8 * size)
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        return f"bit {at % 8} of byte {at // 8}", bytes(damaged)
    if kind == "cut" and size:
        length = dice.randrange(size)
        return f"cut to {length} bytes", content[:length]
    if kind == "garbage":
        return "garbage", dice.randbytes(max(size, 1))
    return "empty", b""


def view(left: Path) -> dict[str, Any]:
    """Everything that can be read of these folders by a name of each, or what is said instead."""
    found: dict[str, Any] = {}

    def put(name: str, read: Callable[[], Any]) -> None:
        try:
            found[name] = read()
        except SurveilError as error:
            found[name] = Refused(str(error), int(error.exit_code))

    put("dispatcher", lambda: dict(read_database(left / DISPATCHER)))
    with closing(LogStore(left / DISPATCHER / LOGS)) as logs:
        for build in range(1, 40):
            put(f"log {build}", lambda build=build: _log(logs, build))  # type: ignore[misc]
    put("server key", lambda: load_keys(left / DISPATCHER / KEYS / "server.key").secret)
    put("runner key", lambda: load_keys(left / RUNNER / KEYS / "runner.key").secret)
    put("identity", lambda: read_identity(left / RUNNER))
    put("tombstones", lambda: _tombstones(left / RUNNER))
    for data in (DISPATCHER, RUNNER):
        put(f"known {data}", lambda data=data: load_known(left / data))  # type: ignore[misc]
    put("refs", lambda: Records(left / OBSERVER).read(REPO))
    for number in range(1, 4):
        put(f"attempt {number}", lambda number=number: _attempt(left / RUNNER / SPOOL / str(number)))  # type: ignore[misc]
    return found


def read_database(data: Path) -> Iterator[tuple[str, Any]]:
    check_pair(data, data / FILE)
    with closing(open_store(data, now=1)) as store:
        yield "epoch", store.cluster.epoch
        yield "cluster", store.cluster.id
        yield "loaded", store.load()
        reader = store.reader
        builds = reader.builds(limit=1000)
        yield "builds", builds
        yield "details", reader.details([build.id for build in builds])
        yield "journal", reader.journal(limit=1000)
        yield "runners", reader.runners()
        yield "peers", reader.peers()
        yield "tokens", reader.tokens()
        yield "secrets", reader.secrets()
        yield "timetables", reader.timetables()
        yield "counts", reader.counts()


def _log(logs: LogStore, build: int) -> Any:
    found = logs.read(f"{build}/test", 1, 0, 1 << 20)
    return Marked(found.length) if found.damaged else found.data


def _tombstones(data: Path) -> dict[str, int]:
    with closing(Tombstones(data)) as tombstones:
        return tombstones.known


def _attempt(folder: Path) -> Any:
    """A verdict and its log; None where nothing is believed, so that the attempt counts as lost."""
    try:
        status = files.read_status(str(folder))
    except ValueError:
        status = None
    with contextlib.suppress(FileNotFoundError), closing(SpoolReader(str(folder / files.SPOOL))) as reader:
        length, log = reader.look(), b""
        try:
            while (chunk := reader.read(len(log), length)) is not None:
                log += chunk.data
        except DamagedError:
            return status, Marked(length)
        # Of what a verdict counts and nobody has, the agent says so in the log.
        return status, log if status is None or len(log) == status.log_bytes else Marked(status.log_bytes)
    return status, None
