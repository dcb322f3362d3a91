"""A dispatcher of our own for a benchmark: its folder, its process, its clients and the keys of its peers.

What belongs here: starting the real thing and ending it. What does not: what is measured with it, and peers that are
played (`noop`, `crowd`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from surveil.client.access import find_access
from surveil.client.asking import Client
from surveil.client.following import follow_journal
from surveil.core.peers import Peer, Role
from surveil.net.addresses import Address
from surveil.net.keys import SERVER_KEY, KeyPair, load_or_make_keys, make_keys
from surveil.net.known import FILE_NAME, KnownDispatcher, load_known
from surveil.places import KEYS
from surveil.store.sqlite import open_store
from tests.net.stage import free_ports

START_S: Final = 30.0
STOP_S: Final = 20.0
LOOK_S: Final = 0.002
EMPTY: Final = Path(__file__).with_name("empty.toml")
"""The configuration file of every process here, so that none reads that of the person who runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKey:
    """A peer that a dispatcher knows: what it needs to connect. Travels to other processes."""

    name: str
    keys: KeyPair


@dataclass(slots=True)
class Dispatcher:
    """The process of a dispatcher in a folder; it may be ended and started again."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    listen: str = field(default_factory=lambda: f"tcp://127.0.0.1:{free_ports()}")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None, "the dispatcher was started"
        return self.process.pid

    @property
    def known(self) -> KnownDispatcher:
        """Where it is and which key it shows."""
        return load_known(self.data)

    def start(self) -> None:
        """Start it and wait until it serves; every start listens on the same port.

        It is one that the system gives to nobody who asks for any, or somebody had it when a killed one comes back.
        """
        command = [sys.executable, "-m", "surveil", "dispatcher", "--data", str(self.data), "--listen", self.listen]
        self.process = subprocess.Popen(command, env=environment(self.settings), start_new_session=True)
        until = time.monotonic() + START_S
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the dispatcher of the benchmark does not come up")
            time.sleep(LOOK_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _ready(self) -> bool:
        return (self.data / FILE_NAME).exists() and self.known.pid == self.pid


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of processes that a benchmark starts: no settings of the person who runs it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SURVEIL_")}
    return {**kept, "SURVEIL_LOG_LEVEL": "warning", "SURVEIL_CONFIG": str(EMPTY), **extra}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards, where temporary files are kept; SIGTERM ends the benchmark in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="surveil-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def let_in(data: Path, names: Sequence[str], role: Role = Role.RUNNER) -> list[PeerKey]:
    """Enrol peers by writing them into the store before the dispatcher starts: tokens are not what is measured."""
    peers = [PeerKey(name=name, keys=make_keys()) for name in names]
    now = time.time_ns() // 1_000_000
    # Together with the key that the peers would have been told: one without the other is refused.
    load_or_make_keys(data / KEYS / SERVER_KEY)
    store = open_store(data, now=now)
    try:
        for peer in peers:
            store.add_peer(Peer(key=peer.keys.public, role=role, name=peer.name, labels=(), created_at=now))
    finally:
        store.close()
    return peers


@contextlib.contextmanager
def dispatching(data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Dispatcher]:
    """A dispatcher's process between its start and its end."""
    dispatcher = Dispatcher(data, settings)
    try:
        dispatcher.start()
        yield dispatcher
    finally:
        dispatcher.stop()


@contextlib.asynccontextmanager
async def client_of(data: Path) -> AsyncIterator[Client]:
    """A client with the key that lies beside the database."""
    async with Client(find_access(data, None), patience_ms=60_000) as client:
        yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What a peer on this machine needs to connect. Travels to other processes."""

    address: Address
    server_key: str


def where(dispatcher: Dispatcher) -> Where:
    """Where a dispatcher is now."""
    known = dispatcher.known
    return Where(address=known.address.from_here(), server_key=known.server_key)


def noop_pipeline(jobs: int) -> str:
    """The text of a pipeline of so many jobs of one step."""
    if jobs == 1:
        return "jobs: {test: {steps: [{run: 'true'}]}}"
    numbers = ", ".join(f"'{number}'" for number in range(jobs))
    return f"jobs: {{test: {{matrix: {{n: [{numbers}]}}, steps: [{{run: 'true'}}]}}}}"


def submission(number: int, pipeline: str, *, repo: str = "/repo", sha: str = "a" * 40) -> dict[str, Any]:
    """What a client says to have a commit tested; `number` makes it a fact of its own."""
    return {
        "mid": f"manual:{number:010d}", "repo": repo, "ref": "refs/heads/main", "sha": sha, "message": "a commit",
        "author": "somebody", "pipeline": pipeline, "pipeline_file": ".surveil.yml",
    }  # fmt: skip


async def until_online(client: Client, runners: int, seconds: float = START_S) -> None:
    """Wait until so many runners have introduced themselves since the database was made."""
    online: dict[str, bool] = {}
    async with asyncio.timeout(seconds):
        async for note in follow_journal(client, after=0):
            if note["what"] == "runner":
                online[note["id"]] = note["state"] == "online"
            if sum(online.values()) >= runners:
                return
