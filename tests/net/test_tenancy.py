"""What one key may have of the dispatcher's sockets: so many connections, and so much that it does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import zmq

from surveil.core.peers import Role
from surveil.net import lane as lane_module
from surveil.net import tenancy as tenancy_module
from surveil.net.audit import CROWDED, UNREAD
from surveil.net.keys import make_keys
from surveil.net.monitor import ConnectionEvent
from surveil.net.tenancy import OWED_BYTES_MAX, Tenancy
from surveil.net.traffic import Route
from surveil.protocol import Answer, Ask, Enrol, encode
from tests.net.stage import BEAT, PATIENCE_MS, Stage, connected, raw_peer, say, serving
from tests.net.test_endless import handmade, meanwhile, resident_bytes
from tests.net.zmtp import HandmadePeer

ASK = Ask(id=1, what="x", about={})
ANSWER = Answer(id=1, data=bytes(250_000))
MIB = 1024 * 1024


def told(stage: Stage, caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """What the audit says of peers with a name."""
    stage.server.audit.look(None)
    return [vars(record)["surveil_keys"] for record in caplog.records if record.name == "surveil.audit"]


def asks(peer: HandmadePeer) -> None:
    peer.shake_hands().say(encode(ASK))


def fill(stage: Stage, route: Route) -> int:
    """Answer until nothing more is taken; how many bytes were."""
    said = 0
    while stage.server.reply(route, ANSWER):
        said += len(ANSWER.data)
    return said


def test_a_client_that_asks_and_never_reads_holds_no_more_of_our_memory_than_its_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys, other = stage.enrol(Role.CLIENT, name="mute"), stage.enrol(Role.CLIENT, name="keen")
            with ExitStack() as stack:
                before = resident_bytes()
                routes = []
                for _ in range(4):
                    peer = stack.enter_context(handmade(stage, keys))
                    _, batch = await meanwhile(stage, partial(asks, peer))
                    batch = batch if batch.control else await stage.gather(lambda found: bool(found.control))
                    routes.append(batch.control[0].route)
                said = fill(stage, routes[0])
                assert OWED_BYTES_MAX - len(ANSWER.data) <= said
                # What the kernel took comes on top, for each connection until its buffers are full.
                for _ in range(50):
                    await asyncio.sleep(0.02)
                    said += sum(fill(stage, route) for route in routes)
                assert resident_bytes() - before < OWED_BYTES_MAX + 8 * MIB
                assert stage.server.counts.unread > 0
                async with stage.connection(other) as keen:
                    await connected(keen)
                    assert keen.send(ASK)
                    assert stage.server.reply((await stage.next_control()).route, ANSWER)
                    assert await keen.receive(PATIENCE_MS) == [ANSWER]
            assert [set(line) - {"peer", "role"} for line in told(stage, caplog)] == [{UNREAD}]
            assert told(stage, caplog)[0]["peer"] == "mute"

    asyncio.run(scene())


def test_whoever_reads_is_told_as_much_as_it_likes() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol(Role.CLIENT)) as client:
            await connected(client)
            assert client.send(ASK)
            route = (await stage.next_control()).route
            heard = 0
            async with asyncio.timeout(PATIENCE_MS / 1000):
                while heard < 4 * OWED_BYTES_MAX:
                    fill(stage, route)  # Takes nothing while what was read just now still counts as under way.
                    answers = [item for item in await client.receive(100) if isinstance(item, Answer)]
                    heard += sum(len(answer.data) for answer in answers)

    asyncio.run(scene())


def test_of_too_many_connections_of_one_key_the_oldest_is_cut_and_nobody_elses(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy_module, "CONNECTIONS_MAX", 3)

    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol(Role.RUNNER, name="mallory")
            async with stage.connection(stage.enrol(name="honest")) as honest:
                await connected(honest)
                assert honest.send(BEAT)
                await stage.next_control()
                with ExitStack() as stack:
                    routes = []
                    for _ in range(5):
                        peer = stack.enter_context(raw_peer(stage, keys))
                        peer.setsockopt(zmq.RECONNECT_IVL, -1)
                        await say(peer, encode(BEAT))
                        routes.append((await stage.next_control()).route)
                    await stage.counted("disconnections", 2)
                    await only_the_last_three_are_reached(stage, routes)
                    assert stage.server.counts.crowded == 2
                    assert honest.send(BEAT)
                    assert (await stage.next_control()).peer.name == "honest"
            assert told(stage, caplog) == [{"peer": "mallory", "role": "runner", CROWDED: 2}]

    asyncio.run(scene())


async def only_the_last_three_are_reached(stage: Stage, routes: list[Route]) -> None:
    """Wait for that: ZeroMQ tells of a closed connection before it has taken the way to it away."""
    expected = [False] * 2 + [True] * 3
    await stage.gather(lambda _: [stage.server.reply(each, Answer(id=1)) for each in routes] == expected)


def test_strangers_share_one_bound_however_many_keys_they_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenancy_module, "CONNECTIONS_MAX", 3)

    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            with ExitStack() as stack:
                routes = []
                for _ in range(5):
                    peer = stack.enter_context(raw_peer(stage, make_keys()))
                    peer.setsockopt(zmq.RECONNECT_IVL, -1)
                    await say(peer, encode(Enrol(secret=bytes(32), name="newcomer")))
                    routes.append((await stage.next_control()).route)
                await stage.counted("disconnections", 2)
                await only_the_last_three_are_reached(stage, routes)

    asyncio.run(scene())


def test_of_too_many_connections_that_never_say_a_word_the_oldest_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "silent_max", lambda *, bulk: 9 if bulk else 3)
    monkeypatch.setattr(tenancy_module, "SHAKEN_S", 0)

    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            with ExitStack() as stack:
                spoke = stack.enter_context(handmade(stage, keys))
                await meanwhile(stage, lambda: spoke.shake_hands().say(encode(BEAT)))
                silent = []
                for _ in range(5):
                    silent.append(stack.enter_context(handmade(stage, keys)))
                    await meanwhile(stage, silent[-1].shake_hands)
                await stage.counted("crowded", 2)
                await stage.counted("disconnections", 2)
                assert [is_closed(peer.socket) for peer in (spoke, *silent)] == [False, True, True, *[False] * 3]

    asyncio.run(scene())


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        # ZeroMQ may have asked whether we live.
        while connection.recv(1_000):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        server.accept()[0] as far,
    ):
        yield near, far


def event(what: int, descriptor: int) -> ConnectionEvent:
    return ConnectionEvent(what, descriptor)


def test_the_news_of_a_closing_is_not_that_of_the_connection_that_got_its_number() -> None:
    heard: list[str] = []
    tenancy = Tenancy(silent_max=9, tell=lambda user, what, _: heard.append(f"{user} {what}"))
    with pair() as (_, far):
        number = far.fileno()
        tenancy.spoke(number, "old", b"1")
        tenancy.follow([event(zmq.EVENT_ACCEPTED, number)])
        # Its number was given away, and the next one has spoken before the news are read.
        tenancy.spoke(number, "new", b"2")
        tenancy.follow([event(zmq.EVENT_DISCONNECTED, number), event(zmq.EVENT_ACCEPTED, number)])
        assert tenancy.has_room(b"2", OWED_BYTES_MAX)
        tenancy.handed(b"2", OWED_BYTES_MAX)
        assert not tenancy.has_room(b"2", 1)
        assert tenancy.has_room(b"1", OWED_BYTES_MAX)
        tenancy.follow([event(zmq.EVENT_DISCONNECTED, number)])
        assert tenancy.has_room(b"2", OWED_BYTES_MAX + 1)
    assert heard == ["new unread"]


def test_a_debt_is_measured_by_what_the_kernel_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenancy_module, "MEASURE_S", 0)
    tenancy = Tenancy(silent_max=9, tell=lambda *_: None)
    with pair() as (near, far):
        tenancy.spoke(far.fileno(), "key", b"1")
        tenancy.handed(b"1", OWED_BYTES_MAX)
        far.sendall(bytes(1_000))
        assert not tenancy.has_room(b"1", 1_001)
        assert tenancy.has_room(b"1", 1_000)
        assert near.recv(1_000)
        assert tenancy.has_room(b"1", 1_000)


def test_what_zeromq_adds_is_not_counted_up_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenancy_module, "MEASURE_S", 0)
    monkeypatch.setattr(tenancy_module, "OWED_BYTES_MAX", 10_000)
    tenancy = Tenancy(silent_max=9, tell=lambda *_: None)
    with pair() as (_, far):
        tenancy.spoke(far.fileno(), "key", b"1")
        tenancy.handed(b"1", 10_000)
        far.sendall(bytes(30_000))
        assert tenancy.has_room(b"1", 10_000)
        tenancy.handed(b"1", 10_000)
        assert not tenancy.has_room(b"1", 1)
