"""Who is let in, and a handler that nothing ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import zmq
from zmq.utils import z85

from surveil.core.peers import Peer, Role
from surveil.net import connection as connection_module
from surveil.net import server as server_module
from surveil.net.connection import Link
from surveil.net.counts import ServerCounts
from surveil.net.keys import make_keys
from surveil.net.peers import Peers
from surveil.net.zap import ENDPOINT, ZapHandler
from tests.net.stage import PATIENCE_MS, connected, serving, until

KEYS = make_keys()
KNOWN = Peer(key=KEYS.public, role=Role.RUNNER, name="a")


def request(peer: str, **change: bytes) -> list[bytes]:
    frames = {
        "version": b"1.0", "id": b"7", "domain": b"surveil", "address": b"127.0.0.1", "identity": b"",
        "mechanism": b"CURVE", "key": z85.decode(peer.encode()),
    }  # fmt: skip
    return list((frames | change).values())


class Ask:
    """The side of libzmq that asks."""

    def __init__(self, counts: ServerCounts, socket: zmq.Socket[Any]) -> None:
        self.counts = counts
        self.socket = socket

    async def __call__(self, frames: list[bytes]) -> tuple[bytes, bytes]:
        await self.socket_ready_after([b"", *frames])
        empty, version, request_id, status, _text, user, metadata = self.socket.recv_multipart(zmq.NOBLOCK)
        assert (empty, version, metadata) == (b"", b"1.0", b"")
        assert request_id == (frames[1] if len(frames) > 1 else b"")
        return status, user

    async def socket_ready_after(self, frames: list[bytes]) -> None:
        self.socket.send_multipart(frames)
        assert await asyncio.to_thread(self.socket.poll, PATIENCE_MS)


@asynccontextmanager
async def asking(peers: Peers) -> AsyncIterator[Ask]:
    context: zmq.Context[Any] = zmq.Context()
    counts = ServerCounts()
    handler = ZapHandler(context, peers, own_key="o" * 40, counts=counts)
    handler.start()
    socket = context.socket(zmq.DEALER)
    socket.connect(ENDPOINT)
    try:
        yield Ask(counts, socket)
    finally:
        handler.stop()
        context.destroy(linger=0)


def test_known_keys_are_let_in_and_others_only_while_enrolment_is_open() -> None:
    async def scene() -> None:
        clock = [0]
        peers = Peers(lambda: clock[0], [KNOWN])
        stranger = make_keys().public
        async with asking(peers) as ask:
            assert await ask(request(KEYS.public)) == (b"200", KEYS.public.encode())
            assert await ask(request("o" * 40)) == (b"200", b"o" * 40)
            assert await ask(request(stranger)) == (b"400", b"")
            peers.open_enrolment(100)
            assert await ask(request(stranger)) == (b"200", b"stranger:" + stranger.encode())
            clock[0] = 100
            assert await ask(request(stranger)) == (b"400", b"")
            assert replace(ask.counts, last={}) == ServerCounts(handshakes=5, handshakes_own=1, handshakes_refused=2)
            assert ask.counts.last == {"handshakes_refused": "127.0.0.1"}

    asyncio.run(scene())


def test_a_revoked_key_is_not_let_in_as_a_stranger_either() -> None:
    async def scene() -> None:
        peers = Peers(lambda: 0, [Peer(key=KEYS.public, role=Role.RUNNER, name="a", revoked_at=1)])
        peers.open_enrolment(100)
        async with asking(peers) as ask:
            assert await ask(request(KEYS.public)) == (b"400", b"")

    asyncio.run(scene())


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"1.0", b"7"],
        request(KEYS.public, version=b"2.0"),
        request(KEYS.public, domain=b"other"),
        request(KEYS.public, mechanism=b"PLAIN"),
        request(KEYS.public, key=b"short"),
        [*request(KEYS.public), b"more"],
    ],
)
def test_a_malformed_request_is_refused_and_the_next_one_answered(frames: list[bytes]) -> None:
    async def scene() -> None:
        async with asking(Peers(lambda: 0, [KNOWN])) as ask:
            assert await ask(frames) == (b"400", b"")
            assert await ask(request(KEYS.public)) == (b"200", KEYS.public.encode())
            assert replace(ask.counts, last={}) == ServerCounts(handshakes=2, handshakes_refused=1)

    asyncio.run(scene())


class BrokenOnce(Peers):
    """A table that fails the first time it is asked."""

    broken = True

    def admitted(self, key: str) -> Peer | None:
        if self.broken:
            self.broken = False
            raise RuntimeError("the table is broken")
        return super().admitted(key)


def test_an_error_in_the_table_refuses_one_and_lets_in_the_next() -> None:
    async def scene() -> None:
        async with asking(BrokenOnce(lambda: 0, [KNOWN])) as ask:
            assert await ask(request(KEYS.public)) == (b"500", b"")
            assert await ask(request(KEYS.public)) == (b"200", KEYS.public.encode())
            assert ask.counts == ServerCounts(handshakes=2, handshakes_broken=1)

    asyncio.run(scene())


def test_more_requests_than_a_turn_takes_are_all_answered() -> None:
    async def scene() -> None:
        async with asking(Peers(lambda: 0, [KNOWN])) as ask:
            for _ in range(500):
                ask.socket.send_multipart([b"", *request(KEYS.public)])
            for _ in range(500):
                assert await asyncio.to_thread(ask.socket.poll, PATIENCE_MS)
                assert ask.socket.recv_multipart(zmq.NOBLOCK)[3] == b"200"
            assert ask.counts == ServerCounts(handshakes=500)

    asyncio.run(scene())


def test_a_peer_refused_by_an_error_is_not_told_that_its_key_is_bad_and_comes_in_by_trying_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "REDIAL_MS", 3_600_000)

    async def scene() -> None:
        peers = BrokenOnce(lambda: 0)
        async with serving(peers=peers) as stage, stage.connection(stage.enrol()) as runner:
            heard = await until(runner, lambda item: item is Link.CONNECTED)
            assert heard == [Link.CONNECTED]

    asyncio.run(scene())


def test_a_dead_handler_is_noticed_and_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "WATCH_MS", 50)

    async def scene() -> None:
        async with serving() as stage:
            await stage.counted("handshakes_own", 3)
            assert stage.server.counts.zap_restarts == 0
            monkeypatch.setattr(server_module, "HANDSHAKE_MS", 200)
            stage.server._zap.stop()  # noqa: SLF001  # No honest way leads here; that is what the watchdog is for.
            await stage.counted("zap_restarts")
            async with stage.connection(stage.enrol()) as runner:
                await connected(runner)

    asyncio.run(scene())


def test_a_handler_starts_anew_while_many_whom_it_let_in_are_there() -> None:
    async def scene() -> None:
        async with serving() as stage, contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                await connected(await stack.enter_async_context(stage.connection(stage.enrol())))
            for _ in range(3):
                stage.server._zap.restart()  # noqa: SLF001  # The watchdog would, if the handler were dead.
            await connected(await stack.enter_async_context(stage.connection(stage.enrol())))

    asyncio.run(scene())


def test_without_a_handler_nobody_is_let_in() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.server._zap.stop()  # noqa: SLF001  # The same.
            async with stage.connection(stage.enrol()) as runner:
                assert Link.CONNECTED not in await runner.receive(300)
                assert not runner.connected

    asyncio.run(scene())
