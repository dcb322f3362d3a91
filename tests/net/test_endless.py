"""Messages that never end, from peers that were let in: they are cut off, and whoever is honest never is."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
import zmq

from surveil.core.peers import Role
from surveil.net import endless as endless_module
from surveil.net import server as server_module
from surveil.net.endless import HELD_BYTES_MAX, Endless, give_memory_back
from surveil.net.keys import KeyPair, make_keys
from surveil.net.monitor import ConnectionEvent
from surveil.net.traffic import Batch
from surveil.protocol import CHUNK_BYTES_MAX, Ask, Message, Output, encode
from tests.net.stage import BEAT, HELLO, OUTPUT, Stage, connected, serving
from tests.net.zmtp import HandmadePeer

PIECE = bytes(60_000)
PATIENCE_S = 40.0

ResultT = TypeVar("ResultT")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ENDLESS_MS", 20)


def handmade(stage: Stage, keys: KeyPair, *, bulk: bool = False) -> HandmadePeer:
    port = stage.server.bulk_port if bulk else stage.server.control_port
    return HandmadePeer(("127.0.0.1", port), stage.server_keys.public, keys, timeout_s=30)


def is_cut_off(stage: Stage, keys: KeyPair, *first: Message, bulk: bool = False) -> bool:
    """Say this, and then a message without an end; whether we are cut off for it."""
    with handmade(stage, keys, bulk=bulk) as peer:
        peer.shake_hands()
        for message in first:
            peer.say(encode(message))
        over = time.monotonic() + PATIENCE_S
        while time.monotonic() < over:
            try:
                peer.say([PIECE], endless=True)
            except ConnectionError:
                return True
            # No faster than whoever looks, on a busy machine too.
            time.sleep(0.002)
        return False


async def meanwhile(stage: Stage, work: Callable[[], ResultT]) -> tuple[ResultT, Batch]:
    """What the work returns, done while the server serves, and what came in."""
    working = asyncio.create_task(asyncio.to_thread(work))
    batch = await stage.gather(lambda _: working.done())
    return await working, batch


@pytest.mark.parametrize("bulk", [False, True], ids=["control", "bulk"])
@pytest.mark.parametrize("spoken", [False, True], ids=["at once", "after honest words"])
def test_a_message_without_an_end_is_cut_off_and_nobody_else_is(
    bulk: bool, spoken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol(name="spare-2")
            first = [OUTPUT if bulk else HELLO] if spoken else []
            cut, batch = await meanwhile(stage, lambda: is_cut_off(stage, keys, *first, bulk=bulk))
            assert cut
            await stage.counted("endless")
            assert stage.server.counts.last["endless"] == "127.0.0.1"
            stage.server.audit.look(None)
            named = [vars(record)["surveil_keys"] for record in caplog.records if record.name == "surveil.audit"]
            assert named == ([{"peer": "spare-2", "role": "runner", "endless_messages": 1}] if spoken else [])
            assert [received.message for received in (*batch.control, *batch.bulk)] == first
            async with stage.connection(stage.enrol()) as honest:
                await connected(honest)
                assert honest.send(BEAT)
                assert (await stage.next_control()).message == BEAT

    asyncio.run(scene())


def test_what_it_filled_is_given_back_once_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def give_back_and_measure() -> None:
        give_memory_back()
        sizes.append(resident_bytes())

    monkeypatch.setattr(server_module, "give_memory_back", give_back_and_measure)

    async def scene() -> None:
        async with serving() as stage:
            before = resident_bytes()
            cut, _ = await meanwhile(stage, lambda: is_cut_off(stage, stage.enrol(name="spare-2")))
            assert cut
            await stage.gather(lambda _: bool(sizes))
            assert len(sizes) == 1
            assert sizes[0] - before < HELD_BYTES_MAX

    asyncio.run(scene())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_stranger_with_a_token_is_cut_off_as_well() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            cut, _ = await meanwhile(stage, lambda: is_cut_off(stage, make_keys()))
            assert cut

    asyncio.run(scene())


def test_honest_messages_are_heard_however_slowly_they_arrive_and_however_many_they_are() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol(Role.CLIENT)
            ask = Ask(id=1, what="x", about={str(number): "x" * 200_000 for number in range(5)})

            def says() -> int:
                with handmade(stage, keys) as peer:
                    peer.shake_hands()
                    for _ in range(12):
                        peer.say(encode(ask))
                        time.sleep(0.03)
                    first, last = encode(ask)
                    wire = peer.message(first, more=True) + peer.message(last)
                    for at in range(0, len(wire), 50_000):
                        peer.socket.sendall(wire[at : at + 50_000])
                        time.sleep(0.01)
                    return 13

            said, batch = await meanwhile(stage, says)
            batch.control += (await stage.gather(lambda more: len(batch.control) + len(more.control) == said)).control
            assert [received.message for received in batch.control] == [ask] * said
            assert stage.server.counts.endless == 0

    asyncio.run(scene())


def test_whole_messages_that_wait_for_us_are_nobodys_fault() -> None:
    async def scene() -> None:
        async with serving() as stage:
            keys = stage.enrol()
            chunk = Output(job="1/test", attempt=1, at=0, crc=0, after_ms=0, data=bytes(CHUNK_BYTES_MAX))
            count = 2 * HELD_BYTES_MAX // CHUNK_BYTES_MAX
            stage.server.bulk_paused = True

            def says() -> int:
                with handmade(stage, keys, bulk=True) as peer:
                    peer.shake_hands()
                    for _ in range(count):
                        peer.say(encode(chunk))
                    time.sleep(0.2)
                    return count

            _, batch = await meanwhile(stage, says)
            assert batch.bulk == []
            stage.server.bulk_paused = False
            batch = await stage.gather(lambda batch: len(batch.bulk) == count)
            assert stage.server.counts.endless == 0

    asyncio.run(scene())


def test_a_message_without_an_end_is_cut_off_while_bulk_is_paused() -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.server.bulk_paused = True
            keys = stage.enrol()
            cut, _ = await meanwhile(stage, lambda: is_cut_off(stage, keys, bulk=True))
            assert cut

    asyncio.run(scene())


def test_of_many_who_hold_too_much_together_those_who_hold_most_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless_module, "HELD_TOGETHER_BYTES_MAX", 2_000_000)

    async def scene() -> None:
        async with serving() as stage, AsyncExitStack() as stack:
            loud, quiet = (stack.enter_context(handmade(stage, stage.enrol())) for _ in range(2))

            def hold(peer: HandmadePeer, pieces: int) -> int:
                peer.shake_hands()
                peer.say([PIECE] * pieces, endless=True)
                return pieces

            await meanwhile(stage, lambda: hold(quiet, 10))
            await meanwhile(stage, lambda: hold(loud, 30))
            await stage.counted("endless")
            for _ in range(5):
                await stage.server.receive(50)
            assert stage.server.counts.endless == 1
            quiet.socket.sendall(quiet.message(b"the end"))
            await stage.counted("malformed")

    asyncio.run(scene())


def test_a_descriptor_that_was_closed_or_given_away_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends = [socket.create_connection(server.getsockname()) for _ in range(2)]
        first, second = (server.accept()[0] for _ in range(2))
        endless = Endless(0)
        endless.follow(ConnectionEvent(zmq.EVENT_ACCEPTED, first.fileno()))
        ends[0].sendall(bytes(1_000))
        assert first.recv(1_000)
        assert endless.cut(settled=True) == []
        number = first.fileno()
        os.dup2(second.fileno(), number)
        assert endless.cut(settled=True) == []
        os.close(second.detach())
        first.close()
        assert endless.cut(settled=True) == []
        for end in ends:
            end.close()
