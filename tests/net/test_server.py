"""The dispatcher's side with peers that mean well."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from surveil.core.peers import Role
from surveil.errors import InfrastructureError
from surveil.net.addresses import Address
from surveil.net.connection import Incoming, Link
from surveil.net.keys import make_keys
from surveil.net.peers import Peers
from surveil.net.server import BULK_BATCH_MAX, CONTROL_BATCH_MAX, CONTROL_PIECE_MAX, Server
from surveil.protocol import (
    PARCEL_MAX,
    Answer,
    Ask,
    Beat,
    Bye,
    CommitSeen,
    Drain,
    Introduce,
    Kept,
    Message,
    Output,
    Seen,
    Watching,
)
from tests.net.stage import BEAT, HELLO, OUTPUT, PATIENCE_MS, connected, free_ports, serving, until

INTRODUCE = Introduce(epoch=1)


def test_a_message_comes_with_the_peer_that_its_key_proves() -> None:
    async def scene() -> None:
        async with serving() as stage:
            first, second = stage.enrol(name="a"), stage.enrol(name="b")
            async with stage.connection(first) as one, stage.connection(second) as two:
                await connected(one)
                await connected(two)
                assert two.send(BEAT)
                received = await stage.next_control()
                assert received.peer == stage.peers.get(second.public)
                assert received.message == BEAT

    asyncio.run(scene())


def test_an_answer_goes_to_the_connection_that_the_question_came_from() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol(Role.CLIENT)
            async with stage.connection(keys) as one, stage.connection(keys) as two:
                await connected(one)
                await connected(two)
                assert two.send(Ask(id=1, what="status", about={}))
                received = await stage.next_control()
                assert stage.server.reply(received.route, Answer(id=1))
                assert await two.receive(PATIENCE_MS) == [Answer(id=1)]
                assert await one.receive(50) == []

    asyncio.run(scene())


def test_a_runner_is_reached_on_the_connection_of_its_latest_hello() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            assert not stage.say(keys.public, INTRODUCE), "nobody has said Hello"
            async with stage.connection(keys) as old, stage.connection(keys) as new:
                await connected(old)
                assert old.send(BEAT)
                await stage.next_control()
                assert not stage.say(keys.public, INTRODUCE), "a Heartbeat is no Hello"
                assert old.send(HELLO)
                await stage.next_control()
                await connected(new)
                assert new.send(replace(HELLO, incarnation=2))
                await stage.next_control()
                assert stage.say(keys.public, INTRODUCE)
                assert await new.receive(PATIENCE_MS) == [INTRODUCE]
                assert await old.receive(50) == []

    asyncio.run(scene())


def test_output_travels_on_bulk_and_is_answered_there() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            assert not runner.send(OUTPUT), "there is no bulk connection yet"
            runner.use_bulk(stage.server.bulk_port)
            await until(runner, lambda item: item is Link.BULK_CONNECTED)
            assert runner.send(OUTPUT)
            (received,) = (await stage.gather(lambda batch: bool(batch.bulk))).bulk
            assert received.message == OUTPUT
            kept = Kept(job="1/test", attempt=1, upto=5)
            assert stage.server.reply(received.route, kept)
            assert await runner.receive(PATIENCE_MS) == [kept]

    asyncio.run(scene())


def test_bulk_that_is_paused_waits_and_control_does_not() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            runner.use_bulk(stage.server.bulk_port)
            await until(runner, lambda _: runner.connected and runner.bulk_connected)
            stage.server.bulk_paused = True
            for at in range(BULK_BATCH_MAX):
                assert runner.send(replace(OUTPUT, at=at))
            assert runner.send(BEAT)
            batch = await stage.gather(lambda batch: bool(batch.control))
            assert [received.message for received in batch.control] == [BEAT]
            assert batch.bulk == []
            stage.server.bulk_paused = False
            batch = await stage.gather(lambda batch: len(batch.bulk) == BULK_BATCH_MAX)
            offsets = [received.message.at for received in batch.bulk if isinstance(received.message, Output)]
            assert offsets == list(range(BULK_BATCH_MAX))

    asyncio.run(scene())


def test_a_closed_connection_is_told_with_the_runner_that_was_on_it() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys, other = stage.enrol(), stage.enrol()
            async with stage.connection(other) as bystander:
                await connected(bystander)
                assert bystander.send(HELLO)
                await stage.next_control()
                async with stage.connection(keys) as runner:
                    await connected(runner)
                    assert runner.send(HELLO)
                    await stage.next_control()
                batch = await stage.gather(lambda batch: bool(batch.gone))
                assert batch.gone == [keys.public]
                assert not stage.say(keys.public, INTRODUCE)
                assert stage.say(other.public, INTRODUCE)

    asyncio.run(scene())


def test_the_end_of_an_older_connection_is_no_news() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            async with stage.connection(keys) as new:
                async with stage.connection(keys) as old:
                    for connection in (old, new):
                        await connected(connection)
                        assert connection.send(HELLO)
                        await stage.next_control()
                batch = await stage.counted("disconnections")
                assert batch.gone == []
                assert stage.say(keys.public, INTRODUCE)

    asyncio.run(scene())


def test_a_runner_keeps_its_enrolled_name_and_gets_no_label_beyond_its_grant() -> None:
    async def scene() -> None:
        async with serving() as stage:
            granted = stage.enrol(name="spare-2", labels=("linux", "arm"))
            free = stage.enrol()
            hello = replace(HELLO, name="impostor", labels=("linux", "deploy"))
            async with stage.connection(granted) as bound, stage.connection(free) as unbound:
                await connected(bound)
                assert bound.send(hello)
                received = await stage.next_control()
                assert received.message == replace(hello, name="spare-2", labels=("linux",))
                assert received.beyond == ("deploy",)
                await connected(unbound)
                assert unbound.send(hello)
                received = await stage.next_control()
                assert (received.message, received.beyond) == (hello, ())

    asyncio.run(scene())


def test_an_observer_reports_and_is_acknowledged() -> None:
    async def scene() -> None:
        async with serving() as stage:
            commit = CommitSeen(
                mid="m", repo="r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="",
                pipeline=None, pipeline_file="",
            )  # fmt: skip
            async with stage.connection(stage.enrol(Role.OBSERVER)) as observer:
                await connected(observer)
                assert observer.send(commit)
                assert observer.send(Watching(birth=1, repos=()))
                batch = await stage.gather(lambda batch: len(batch.control) == 2)
                assert [received.message for received in batch.control] == [commit, Watching(birth=1, repos=())]
                assert stage.server.reply(batch.control[0].route, Seen(mid="m", build=1))
                assert await observer.receive(PATIENCE_MS) == [Seen(mid="m", build=1)]

    asyncio.run(scene())


def test_what_is_said_at_once_arrives_as_it_was_said_both_ways() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            beats = [replace(BEAT, seq=seq) for seq in range(100)]
            said: list[Message] = [HELLO, *beats]
            for message in said:
                runner.post(message)
            runner.flush()
            batch = await stage.gather(lambda batch: len(batch.control) == 101)
            assert [received.message for received in batch.control] == said
            orders: list[Message] = [Drain(), *(Introduce(epoch=epoch) for epoch in range(100))]
            assert stage.say(batch.control[0].peer.key, *orders)
            heard: list[Incoming] = []
            async with asyncio.timeout(60):
                while len(heard) < len(orders):
                    heard += await runner.receive(PATIENCE_MS)
            assert heard == orders
            assert (stage.server.counts.received, stage.server.counts.sent) == (101, 101)

    asyncio.run(scene())


def test_one_turn_takes_a_bounded_number_of_messages_however_they_travel() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            said = 4 * CONTROL_BATCH_MAX
            for seq in range(said):
                runner.post(replace(BEAT, seq=seq))
            runner.flush()
            taken: list[int] = []
            async with asyncio.timeout(60):
                while sum(taken) < said:
                    taken.append(len((await stage.server.receive(PATIENCE_MS)).control))
            assert sum(taken) == said
            assert max(taken) < CONTROL_BATCH_MAX + CONTROL_PIECE_MAX * PARCEL_MAX

    asyncio.run(scene())


def test_a_slow_peer_is_refused_words_and_keeps_nobody_waiting() -> None:
    async def scene() -> None:
        async with serving() as stage:
            slow_keys, quick_keys = stage.enrol(), stage.enrol()
            async with stage.connection(slow_keys) as slow, stage.connection(quick_keys) as quick:
                for connection in (slow, quick):
                    await connected(connection)
                    assert connection.send(HELLO)
                    await stage.next_control()
                words = Answer(id=1, data=bytes(10_000))
                taken = 0
                while stage.say(slow_keys.public, words):
                    taken += 1
                    assert taken < 10_000, "the queue to a peer that does not read has no end"
                assert stage.server.counts.unsent == 1
                assert stage.say(quick_keys.public, INTRODUCE)
                assert await quick.receive(PATIENCE_MS) == [INTRODUCE]
                # What was taken arrives once the peer reads again, and none of it twice.
                heard: list[Incoming] = []
                async with asyncio.timeout(60):
                    while len(heard) < taken:
                        heard += await slow.receive(1_000)
                assert heard == [words] * taken

    asyncio.run(scene())


def test_a_message_that_no_peer_would_take_is_not_sent_and_counted() -> None:
    async def scene() -> None:
        async with serving() as stage, stage.connection(stage.enrol()) as runner:
            await connected(runner)
            assert runner.send(HELLO)
            received = await stage.next_control()
            assert not stage.server.reply(received.route, Answer(id=1, data=bytes(2**20)))
            assert stage.server.counts.too_large == 1

    asyncio.run(scene())


def test_waking_returns_an_empty_batch_and_cancelling_loses_nothing() -> None:
    async def scene() -> None:
        async with serving() as stage:
            waiting = asyncio.create_task(stage.server.receive(60_000))
            await asyncio.sleep(0)
            stage.server.wake()
            assert not await waiting
            async with stage.connection(stage.enrol()) as runner:
                await connected(runner)
                cancelled = asyncio.create_task(stage.server.receive(60_000))
                await asyncio.sleep(0)
                assert runner.send(BEAT)
                cancelled.cancel()
                await asyncio.gather(cancelled, return_exceptions=True)
                assert cancelled.cancelled()
                assert (await stage.next_control()).message == BEAT

    asyncio.run(scene())


def test_what_arrives_of_a_servers_last_words_is_in_order_and_whole() -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            async with serving() as stage:
                keys = stage.enrol()
                runner = await stack.enter_async_context(stage.connection(keys))
                await connected(runner)
                assert runner.send(HELLO)
                await stage.next_control()
                hearing = asyncio.create_task(until(runner, lambda item: item is Link.DISCONNECTED))
                for seq in range(200):
                    assert stage.say(keys.public, Beat(epoch=1, seq=seq, renewed=(), revoked=()))
            # A peer forgets what it has not read yet when its connection ends: nothing may depend on last words.
            heard = [item.seq for item in await hearing if isinstance(item, Beat)]
            assert heard == list(range(len(heard)))

    asyncio.run(scene())


def test_a_peers_last_words_before_it_closes_arrive() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            async with stage.connection(keys) as runner:
                await connected(runner)
                assert runner.send(HELLO)
                for seq in range(200):
                    assert runner.send(replace(BEAT, seq=seq))
                assert runner.send(Bye(incarnation=1, returning=False))
            batch = await stage.gather(lambda batch: bool(batch.gone))
            said = [HELLO, *(replace(BEAT, seq=seq) for seq in range(200)), Bye(incarnation=1, returning=False)]
            assert [received.message for received in batch.control] == said
            assert batch.gone == [keys.public]

    asyncio.run(scene())


@pytest.mark.parametrize("taken", [0, 1], ids=["control", "bulk"])
def test_a_port_in_use_is_named_with_what_to_do(taken: int) -> None:
    async def scene() -> None:
        port = free_ports()
        async with serving(port=port) as stage:
            assert (stage.server.control_port, stage.server.bulk_port) == (port, port + 1)
            with pytest.raises(InfrastructureError, match=rf"port {port + taken} .* taken .*--listen"):
                async with Server(Address("127.0.0.1", port + taken), make_keys(), Peers(lambda: 0)):
                    pass

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (Address("192.0.2.1", 0), "does not have the address 192.0.2.1"),
        (Address("127.0.0.1", 65_535), "no port 65536 for bulk after 65535"),
    ],
)
def test_an_address_that_cannot_be_had_is_explained(address: Address, sentence: str) -> None:
    async def scene() -> None:
        with pytest.raises(InfrastructureError, match=re.escape(sentence)):
            async with Server(address, make_keys(), Peers(lambda: 0)):
                pass

    asyncio.run(scene())
