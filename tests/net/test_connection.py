"""The peers' side: what it notices, and how it mends itself."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from surveil.core.peers import Peer, Role
from surveil.errors import ProtocolError
from surveil.net import connection as connection_module
from surveil.net.addresses import Address
from surveil.net.connection import Connection, Garbled, Incoming, Link
from surveil.net.keys import make_keys
from surveil.net.peers import Peers
from surveil.protocol import VERSION, Answer, Introduce
from tests.campaign.proxy import Proxy
from tests.campaign.weather import Blow, Way
from tests.net.stage import BEAT, HELLO, OUTPUT, PATIENCE_MS, connected, free_ports, serving, until


def test_words_said_while_there_is_no_dispatcher_never_reach_the_next_one() -> None:
    async def scene() -> None:
        port, keys, peers = free_ports(), make_keys(), Peers(lambda: 0)
        async with serving(port, keys, peers) as stage:
            runner = stage.connection(stage.enrol())
            assert not (await runner.__aenter__()).send(HELLO), "there is no connection yet"
            await connected(runner)
            assert runner.send(HELLO)
            await stage.next_control()
        await until(runner, lambda item: item is Link.DISCONNECTED)
        assert [runner.send(BEAT) for _ in range(100)] == [False] * 100
        async with serving(port, keys, peers) as stage:
            await connected(runner)
            assert runner.send(HELLO)
            assert (await stage.next_control()).message == HELLO
            assert not await stage.server.receive(100)
            await runner.close()

    asyncio.run(scene())


def test_both_connections_come_back_after_a_restart_of_the_dispatcher() -> None:
    async def scene() -> None:
        port, keys, peers = free_ports(), make_keys(), Peers(lambda: 0)
        async with serving(port, keys, peers) as stage:
            runner = stage.connection(stage.enrol())
            await runner.__aenter__()
            runner.use_bulk(port + 1)
            await until(runner, lambda _: runner.connected and runner.bulk_connected)
        await until(runner, lambda _: not runner.connected and not runner.bulk_connected)
        async with serving(port, keys, peers) as stage:
            await until(runner, lambda _: runner.connected and runner.bulk_connected)
            assert runner.send(OUTPUT)
            assert (await stage.gather(lambda batch: bool(batch.bulk))).bulk[0].message == OUTPUT
            await runner.close()

    asyncio.run(scene())


def _open_now() -> tuple[int, int]:
    """How many descriptors and threads this process has."""
    descriptors, threads = (sum(1 for _ in Path("/proc/self", what).iterdir()) for what in ("fd", "task"))
    return descriptors, threads


def test_however_often_the_dispatcher_restarts_its_peers_keep_no_more_open() -> None:
    async def scene() -> None:
        port, keys, own, peers, found = free_ports(), make_keys(), make_keys(), Peers(lambda: 0), []
        peers.put(Peer(key=own.public, role=Role.RUNNER, name="spare-2", labels=()))
        async with Connection(Address("127.0.0.1", port), keys.public, own) as runner:
            runner.use_bulk(port + 1)
            for _ in range(8):
                async with serving(port, keys, peers):
                    await until(runner, lambda _: runner.connected and runner.bulk_connected)
                await until(runner, lambda _: not runner.connected and not runner.bulk_connected)
                found.append(_open_now())
        _, (descriptors, threads), *_, (descriptors_at_last, threads_at_last) = found
        # Each of both connections may be dialling just now, which takes a socket and a timer.
        assert descriptors_at_last <= descriptors + 4, found
        assert threads_at_last <= threads, found

    asyncio.run(scene())


def test_however_often_a_connection_is_made_anew_nothing_of_the_old_ones_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "REFUSED_REDIAL_MS", 0)

    async def scene() -> None:
        async with serving() as stage, stage.connection(make_keys()) as stranger:
            found = []
            for _ in range(20):
                await until(stranger, lambda item: item is Link.REFUSED)
                found.append(_open_now())
            # Sockets of both ends are closed by and by: so many there may be for one connection, old and new.
            async with asyncio.timeout(PATIENCE_MS / 1000):
                while _open_now()[0] > found[0][0] + 8:  # noqa: ASYNC110  # Descriptors have no event.
                    await asyncio.sleep(0.01)
            assert {threads for _, threads in found[1:]} == {found[-1][1]}

    asyncio.run(scene())


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("bulk", [False, True], ids=["control", "bulk"])
def test_a_connection_on_which_a_bit_was_flipped_is_made_anew_at_once(
    monkeypatch: pytest.MonkeyPatch, way: Way, bulk: bool
) -> None:
    monkeypatch.setattr(connection_module, "REDIAL_MS", 3_600_000)

    async def scene() -> None:
        async with serving() as stage:
            ports = (stage.server.control_port, stage.server.bulk_port)
            with Proxy("127.0.0.3", "127.0.0.1", ports) as proxy:
                keys = stage.enrol()
                async with Connection(Address("127.0.0.3", ports[0]), stage.server_keys.public, keys) as runner:
                    runner.use_bulk(ports[1])
                    await until(runner, lambda _: runner.connected and runner.bulk_connected)
                    proxy.strike(Blow(after=20, flip=1), way, ports[bulk])
                    gone = Link.BULK_DISCONNECTED if bulk else Link.DISCONNECTED
                    heard: list[Incoming] = []
                    while gone not in heard:
                        runner.send(OUTPUT if bulk else HELLO)
                        batch = await stage.server.receive(5)
                        for received in (*batch.control, *batch.bulk):
                            stage.server.reply(received.route, Introduce(epoch=1))
                        heard += await runner.receive(5)
                    while not (runner.connected and runner.bulk_connected):
                        await stage.server.receive(5)
                        await runner.receive(1_000)

    asyncio.run(scene())


def test_a_connection_that_libzmq_gave_up_is_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REDIAL_MS", 200)

    async def scene() -> None:
        # A server that speaks nonsense makes libzmq give up for good.
        async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48))
            await writer.drain()
            writer.close()

        port, keys, peers = free_ports(), make_keys(), Peers(lambda: 0)
        other = await asyncio.start_server(nonsense, "127.0.0.1", port)
        async with serving(peers=peers) as elsewhere:
            mine = elsewhere.enrol()
        async with Connection(Address("127.0.0.1", port), keys.public, mine) as runner:
            await until(runner, lambda item: item is Link.STRANGE)
            other.close()
            await other.wait_closed()
            async with serving(port, keys, peers):
                await connected(runner)

    asyncio.run(scene())


def test_opening_the_same_bulk_port_again_changes_nothing_and_another_one_moves() -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            stage = await stack.enter_async_context(serving())
            moved = await stack.enter_async_context(serving(server_keys=stage.server_keys, peers=stage.peers))
            runner = await stack.enter_async_context(stage.connection(stage.enrol()))
            for port in (stage.server.bulk_port, stage.server.bulk_port, moved.server.bulk_port):
                runner.use_bulk(port)
                if not runner.bulk_connected:
                    await until(runner, lambda _: runner.bulk_connected)
            assert runner.send(OUTPUT)
            assert (await moved.gather(lambda batch: bool(batch.bulk))).bulk[0].message == OUTPUT
            await stage.counted("disconnections")
            # One control and one bulk connection: the second call with the same port opened none.
            assert stage.server.counts.connections == 2

    asyncio.run(scene())


def test_what_is_said_right_after_connecting_is_taken() -> None:
    async def scene() -> None:
        async with serving() as stage:
            for _ in range(20):
                async with stage.connection(stage.enrol()) as runner:
                    await connected(runner)
                    assert runner.send(HELLO)
                    assert (await stage.next_control()).message == HELLO

    asyncio.run(scene())


def test_a_dispatcher_of_another_version_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            assert runner.send(HELLO)
            received = await stage.next_control()
            newer = [b"SV" + bytes([VERSION + 1, 0x13]), b"\x81\xa5epoch\x01"]
            monkeypatch.setattr("surveil.net.lane.encode_all", lambda _: [(newer, 1)])
            assert stage.server.reply(received.route, Introduce(epoch=1))
            (heard,) = await runner.receive(PATIENCE_MS)
            assert isinstance(heard, Garbled)
            assert "install the same version of surveil" in heard.reason

    asyncio.run(scene())


def test_a_message_beyond_the_limit_is_our_own_mistake() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            with pytest.raises(ProtocolError):
                runner.send(Answer(id=1, data=bytes(2**20)))

    asyncio.run(scene())


def test_waking_and_waiting_in_vain_return_nothing() -> None:
    async def scene() -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            async with Connection(
                Address("127.0.0.1", silent.getsockname()[1]), make_keys().public, make_keys()
            ) as runner:
                assert await runner.receive(20) == []
                waiting = asyncio.create_task(runner.receive(60_000))
                await asyncio.sleep(0)
                runner.wake()
                assert await waiting == []

    asyncio.run(scene())
