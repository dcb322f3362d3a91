"""The dispatcher's side with peers that mean ill, and what it costs everybody else: nothing."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest

from surveil.core.peers import Role
from surveil.net.admission import STRANGER_BYTES_MAX, STRANGER_TRIES_MAX, Stranger
from surveil.net.connection import Connection, Link
from surveil.net.keys import make_keys
from surveil.protocol import (
    MESSAGE_BYTES_MAX,
    PARCEL_MAX,
    Answer,
    Ask,
    Enrol,
    Hello,
    Introduce,
    Message,
    OnBulk,
    Refused,
    encode,
    encode_all,
)
from tests.net.stage import BEAT, HELLO, PATIENCE_MS, Stage, connected, hear, raw_peer, say, serving, until
from tests.net.zmtp import GREETING
from tests.wire.samples import SAMPLES

ENROL = Enrol(secret=bytes(32), name="newcomer")


async def is_served(stage: Stage) -> None:
    """An honest runner connects now, and is heard and answered."""
    keys = stage.enrol()
    async with stage.connection(keys) as runner:
        await connected(runner)
        assert runner.send(HELLO)
        batch = await stage.gather(lambda batch: any(item.peer.key == keys.public for item in batch.control))
        assert [item.message for item in batch.control if item.peer.key == keys.public] == [HELLO]
        assert stage.say(keys.public, Introduce(epoch=1))
        assert await runner.receive(PATIENCE_MS) == [Introduce(epoch=1)]


def test_an_unknown_key_is_turned_away() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(make_keys()) as stranger:
            heard = await until(stranger, lambda item: item is Link.REFUSED)
            assert heard == [Link.REFUSED]
            assert not stranger.send(ENROL)
            assert not await stage.server.receive(50)

    asyncio.run(scene())


def test_a_dispatcher_without_the_pinned_key_is_not_talked_to() -> None:
    async def scene() -> None:
        async with serving() as stage, Connection(stage.address, make_keys().public, stage.enrol()) as runner:
            heard = await until(runner, lambda item: item is Link.STRANGE)
            assert Link.CONNECTED not in heard
            assert not runner.send(HELLO)

    asyncio.run(scene())


def test_a_revoked_key_is_refused_at_its_next_message_on_its_open_connection() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            async with stage.connection(keys) as runner:
                await connected(runner)
                assert runner.send(BEAT)
                await stage.next_control()
                peer = stage.peers.get(keys.public)
                assert peer is not None
                stage.peers.put(replace(peer, revoked_at=1))
                assert runner.send(BEAT)
                batch = await stage.counted("denied")
                assert not batch
                (refused,) = await runner.receive(PATIENCE_MS)
                assert isinstance(refused, Refused)
                assert "revoked" in refused.reason
                assert refused.exit_code == 5
            async with stage.connection(keys) as again:
                await until(again, lambda item: item is Link.REFUSED)

    asyncio.run(scene())


def test_a_runner_cannot_take_anothers_place_with_its_routing_id() -> None:
    async def scene() -> None:
        async with serving() as stage:
            victim_keys, attacker_keys = stage.enrol(), stage.enrol()
            async with stage.connection(victim_keys) as victim:
                await connected(victim)
                assert victim.send(HELLO)
                stolen = (await stage.next_control()).route.id
                with raw_peer(stage, attacker_keys, routing_id=stolen) as attacker:
                    await say(attacker, encode(HELLO))
                    await is_served(stage)
                    secret = Answer(id=1, data=b"for the victim")
                    assert stage.say(victim_keys.public, secret)
                    assert await victim.receive(PATIENCE_MS) == [secret]
                    assert attacker.poll(50) == 0
                    assert stage.say(attacker_keys.public, secret) is False

    asyncio.run(scene())


def test_a_peer_that_chooses_its_routing_id_is_refused() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol(), routing_id=b"chosen") as peer:
                await say(peer, encode(HELLO))
                assert not await stage.counted("malformed")
                assert await hear(peer) == Refused(reason="a peer does not choose its routing id")

    asyncio.run(scene())


def test_the_routing_ids_of_two_processes_have_nothing_in_common() -> None:
    # A peer that presents the next routing id makes libzmq abort, and libzmq by itself begins with the same one always.
    script = (
        "import zmq; from surveil.net.options import scatter_dice; scatter_dice(); context = zmq.Context();"
        "router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER);"
        "router.bind('inproc://x'); dealer.connect('inproc://x');"
        "dealer.send(b''); print(router.recv().hex())"
    )
    command = [sys.executable, "-c", script]
    ids = {subprocess.run(command, capture_output=True, check=True, timeout=60).stdout for _ in range(3)}
    assert len(ids) == 3


ALLOWED = {
    Role.RUNNER: {"Hello", "Heartbeat", "Accepted", "Rejected", "Progress", "Finished", "Bye", "Enrol"},
    Role.OBSERVER: {"CommitSeen", "Watching", "Pack", "Enrol"},
    Role.CLIENT: {"Ask", "Enrol"},
}


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_may_say_its_own_messages_and_no_other(role: Role) -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol(role)) as peer:
                for message in SAMPLES:
                    await say(peer, encode(message))
                batch = await stage.counted("denied", len(SAMPLES) - len(ALLOWED[role]))
                assert {type(item.message).__name__ for item in batch.control} == ALLOWED[role]
                for _ in range(len(SAMPLES) - len(ALLOWED[role])):
                    refused = await hear(peer)
                    assert isinstance(refused, Refused)
                    assert refused.reason.startswith(f"a {role} may not say ")

    asyncio.run(scene())


BULK = [type(sample) for sample in SAMPLES if isinstance(sample, OnBulk)]


@pytest.mark.parametrize(("role", "allowed"), [(Role.RUNNER, BULK), (Role.OBSERVER, []), (Role.CLIENT, [])])
def test_nothing_but_what_is_a_runners_to_say_passes_on_bulk(role: Role, allowed: list[type]) -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol(role), bulk=True) as peer:
                for message in SAMPLES:
                    await say(peer, encode(message))
                batch = await stage.counted("denied", len(SAMPLES) - len(allowed))
                assert [type(item.message) for item in batch.bulk] == allowed
                assert batch.control == []

    asyncio.run(scene())


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"SV"],
        [b"SV\x01\x02", b""],
        [b"SV\x01\xff", b"\x80"],
        [b"SV\x01\x01", b"\xc1" * 100],
        [b"SV\x01\x02", b"\x80", b"", b""],
        [b"x"] * 10_000,
    ],
    ids=["empty", "one frame", "no fields", "unknown type", "no msgpack", "four frames", "endless frames"],
)
def test_a_malformed_message_is_refused_and_the_next_one_is_heard(frames: list[bytes]) -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol()) as peer:
                await say(peer, frames)
                await say(peer, encode(BEAT))
                assert (await stage.next_control()).message == BEAT
                assert stage.server.counts.malformed == 1
                assert isinstance(await hear(peer), Refused)

    asyncio.run(scene())


def test_a_frame_beyond_its_limit_ends_the_connection_and_nothing_else() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol()) as peer:
                await say(peer, encode(HELLO))
                await stage.next_control()
                await say(peer, [b"SV\x01\x02", bytes(2 * MESSAGE_BYTES_MAX)])
                batch = await stage.gather(lambda batch: bool(batch.gone))
                assert batch.control == []
                await is_served(stage)

    asyncio.run(scene())


def test_the_largest_message_passes() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol(Role.CLIENT)) as client:
            await connected(client)
            room = MESSAGE_BYTES_MAX - sum(map(len, encode(Ask(id=1, what="x", about={"x": ""})))) - 4
            texts = {str(number): "x" * 200_000 for number in range(room // 200_020)}
            assert client.send(Ask(id=1, what="x", about=texts))
            assert (await stage.next_control()).message == Ask(id=1, what="x", about=texts)
            answer = Answer(id=1, data=bytes(MESSAGE_BYTES_MAX - sum(map(len, encode(Answer(id=1))))))
            assert sum(map(len, encode(answer))) == MESSAGE_BYTES_MAX
            assert client.send(Ask(id=2, what="x", about={}))
            assert stage.server.reply((await stage.next_control()).route, answer)
            assert await client.receive(PATIENCE_MS) == [answer]

    asyncio.run(scene())


def test_garbage_from_tcp_harms_nobody() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with ExitStack() as open_sockets:
                for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 4_096, b"\xff\0\0\0\0\0\0\0\x01\x7f"):
                    for port in (stage.server.control_port, stage.server.bulk_port):
                        plain = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
                        plain.sendall(garbage)
                await is_served(stage)

    asyncio.run(scene())


def test_three_hundred_silent_connections_harm_nobody_and_are_closed() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with ExitStack() as open_sockets:
                for _ in range(300):
                    port = stage.server.control_port
                    open_sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
                await is_served(stage)
                await stage.counted("disconnections", 301)
                await is_served(stage)

    asyncio.run(scene())


def test_a_handshake_that_goes_on_and_on_is_closed_as_a_silent_one_is() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with socket.create_connection(("127.0.0.1", stage.server.control_port)) as loris:
                said = 0
                while stage.server.counts.handshakes_failed == 0:
                    # One byte at a time, so that something has always just come.
                    loris.sendall(GREETING[said : said + 1])
                    said += 1
                    await stage.server.receive(100)
                assert 1 < said < len(GREETING)
                await is_served(stage)

    asyncio.run(scene())


def test_a_flood_from_one_peer_starves_neither_others_nor_the_loop() -> None:
    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, stage.enrol()) as flooder:
                await say(flooder, [b"x", b"y"])
                turns = 0

                async def flood() -> None:
                    nonlocal turns
                    while True:
                        turns += 1
                        for _ in range(200):
                            if not flooder.poll(0, 2):
                                break
                            flooder.send_multipart([b"x", b"y"])
                        await asyncio.sleep(0)

                flooding = asyncio.create_task(flood())
                try:
                    await is_served(stage)
                    assert turns > 1
                    assert stage.server.counts.malformed > 0
                finally:
                    flooding.cancel()
                    await asyncio.gather(flooding, return_exceptions=True)

    asyncio.run(scene())


def test_a_stranger_may_enrol_while_a_token_is_valid_and_say_nothing_else() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            keys = make_keys()
            with raw_peer(stage, keys) as stranger:
                await say(stranger, encode(HELLO))
                assert not await stage.counted("denied")
                assert await hear(stranger) == Refused(reason="a stranger may not say Hello on its control connection")
                await say(stranger, encode(ENROL))
                received = await stage.next_control()
                assert received.peer == Stranger(keys.public)
                assert received.message == ENROL
                # The door closes under the one who stands in it.
                stage.clock[0] = 2_000
                await say(stranger, encode(ENROL))
                assert not await stage.counted("denied", 2)
                refused = await hear(stranger)
                assert isinstance(refused, Refused)
                assert "no token is valid" in refused.reason

    asyncio.run(scene())


def test_a_stranger_has_three_tries_and_then_no_answer() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            with raw_peer(stage, make_keys()) as stranger:
                for _ in range(STRANGER_TRIES_MAX + 2):
                    await say(stranger, encode(ENROL))
                batch = await stage.counted("denied", 2)
                assert [item.message for item in batch.control] == [ENROL] * STRANGER_TRIES_MAX
                assert stranger.poll(50) == 0

    asyncio.run(scene())


def test_a_strangers_message_is_small() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            with raw_peer(stage, make_keys()) as stranger:
                await say(stranger, [*encode(ENROL)[:1], bytes(STRANGER_BYTES_MAX)])
                assert not await stage.counted("denied")
                refused = await hear(stranger)
                assert isinstance(refused, Refused)
                assert str(STRANGER_BYTES_MAX) in refused.reason

    asyncio.run(scene())


def test_a_parcel_of_words_that_a_peer_may_not_say_is_answered_once_and_not_acted_on() -> None:
    async def scene() -> None:
        async with serving() as stage:
            ((frames, count),) = encode_all([BEAT] * PARCEL_MAX)
            assert count == PARCEL_MAX
            with raw_peer(stage, stage.enrol(Role.CLIENT)) as peer:
                await say(peer, frames)
                assert not await stage.counted("denied")
                assert isinstance(await hear(peer), Refused)
                assert (stage.server.counts.denied, stage.server.counts.sent) == (1, 1)

    asyncio.run(scene())


def test_one_peers_words_never_carry_anothers_name() -> None:
    async def scene() -> None:
        async with serving() as stage:
            everybody = [stage.enrol() for _ in range(8)]
            with ExitStack() as stack:
                for number, keys in enumerate(everybody):
                    peer = stack.enter_context(raw_peer(stage, keys))
                    message: Message = replace(HELLO, seq=number)
                    await say(peer, encode(message))
                batch = await stage.gather(lambda batch: len(batch.control) == len(everybody))
            said = {item.message.seq: item.peer.key for item in batch.control if isinstance(item.message, Hello)}
            assert said == {number: keys.public for number, keys in enumerate(everybody)}

    asyncio.run(scene())
