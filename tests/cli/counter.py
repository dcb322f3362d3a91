"""A dispatcher's counter in this process: real sockets, real answers, a store in memory, and a note of every wish.

What belongs here: serving what `tests.answer.desk` knows over the network. What does not: a mind; wishes get the
replies that a test lays ready.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    PackWish,
    RekeyWish,
    RemoveSecretWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SecretWish,
    SubmitWish,
    TokenWish,
    Wish,
)
from surveil.answer.answers import Answers, answered, refusal
from surveil.core.model import Note
from surveil.core.peers import Peer, Role
from surveil.errors import SurveilError
from surveil.net.addresses import Address
from surveil.net.keys import load_or_make_keys
from surveil.net.known import KnownDispatcher
from surveil.net.peers import Peers
from surveil.net.server import Server
from surveil.net.traffic import Received
from surveil.protocol import Ask
from tests.answer.desk import Desk
from tests.net.stage import free_ports
from tests.store.records import new

START_S = 20.0
PATIENCE_S = 60.0


class Counter:
    """Serves a desk to whoever finds the data folder, until it is closed."""

    def __init__(self, data: Path) -> None:
        self.desk = Desk(data / "logs")
        self.wishes: list[Wish] = []
        self.asked: list[str] = []
        self.data = data
        self.port = free_ports()
        """Where it serves; the same after it was closed and serves again."""
        self.build = 12
        """What submissions and retries are told."""
        self.mute = False
        """Whether answers are lost."""
        self.on_wish: Callable[[Wish], None] = lambda _wish: None

    def serve(self) -> None:
        """Begin to serve, in a thread with a loop of its own."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(START_S), "the counter did not open"

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
        self._loop.close()
        self.desk.logs.close()

    def happen(self, *notes: Note) -> None:
        """Write lines of the journal, and wake who waits for them."""
        self.desk.store.commit(new(notes=notes))
        self._loop.call_soon_threadsafe(self.answers.on_commit, notes)

    def write(self, job: str, attempt: int, data: bytes) -> None:
        """Write more of a log, and wake who waits for it."""
        self.desk.log(job, attempt, data)
        self._loop.call_soon_threadsafe(self.answers.on_log, job, attempt)

    async def _serve(self) -> None:
        keys, client = (load_or_make_keys(self.data / "keys" / f"{name}.key") for name in ("server", "client"))
        peers = Peers(lambda: 0, [Peer(key=client.public, role=Role.CLIENT, name="local")])
        async with Server(Address("127.0.0.1", self.port), keys, peers) as server:
            self.port = server.control_port
            address = Address("127.0.0.1", server.control_port)
            KnownDispatcher(address=address, server_key=keys.public, cluster="c1").save(self.data)
            self.answers = self.desk.answers()
            tasks: set[asyncio.Task[None]] = set()
            self._ready.set()
            while not self._stop.is_set():
                for received in (await server.receive(50)).control:
                    task = asyncio.create_task(self._answer(server, received, self.answers))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            self.answers.on_stop()
            await asyncio.gather(*tasks)

    async def _answer(self, server: Server, received: Received, answers: Answers) -> None:
        ask = received.message
        assert isinstance(ask, Ask)
        self.asked.append(ask.what)
        try:
            found = await answers.answer(ask, "local")
            reply = found if isinstance(found, Reply) else self._fulfil(found)
            if self.mute:
                return
        except SurveilError as error:
            server.reply(received.route, refusal(ask, error))
        else:
            server.reply(received.route, answered(ask, reply))

    def _fulfil(self, wish: Wish) -> Reply:
        self.wishes.append(wish)
        self.on_wish(wish)
        match wish:
            case SubmitWish() | RetryWish():
                return wish.reply(self.build)
            case JobsWish():
                return wish.reply("running")
            case TokenWish():
                return wish.reply(token="svl1.token.00000000", token_id="abc1", expires_at="2026-01-01T00:00:00.000Z")
            case RekeyWish():
                return wish.reply(secrets=3)
            case RunnerWish() | RevokeTokenWish() | RevokePeerWish() | SecretWish() | RemoveSecretWish():
                return wish.reply()
            case PackWish():
                return wish.reply(None)
            case LookWish():
                return wish.reply(1)
            case BackupWish():
                return wish.reply(size_bytes=4096)


def once(true: Callable[[], bool], *acts: Callable[[], object]) -> threading.Thread:
    """Do this as soon as it is true, in a thread of its own; never, if it does not become true."""

    def wait() -> None:
        until = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        for act in acts:
            act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@contextmanager
def open_counter(data: Path) -> Iterator[Counter]:
    """A counter that is open until the end of the block."""
    counter = Counter(data)
    counter.serve()
    try:
        yield counter
    finally:
        counter.close()
