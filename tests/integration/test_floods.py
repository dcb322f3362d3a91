"""Peers with real keys that say too much, too often or on too many connections: it costs them, and nobody else."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from surveil.client.access import find_access
from surveil.core.policy import Policy
from surveil.net.audit import HELLOS
from surveil.net.connection import Connection
from surveil.net.keys import RUNNER_KEY, load_keys
from surveil.net.known import load_known
from surveil.places import KEYS
from surveil.protocol import Answer, Ask, Busy, decode_all, encode
from tests.integration.forgeries import hello
from tests.integration.test_dispatcher import dispatching, in_a_loop, local_client, played_runner
from tests.integration.test_hostile import hostile, told_of
from tests.net.stage import connected, say, until

CONNECTIONS = 5


@in_a_loop
async def test_a_runner_that_introduces_itself_all_the_time_keeps_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # So few in a second that an honest one would find no room beside those of the flood.
    async with (
        dispatching(tmp_path / "d", Policy(hellos_per_second=20)) as parts,
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "m", name="mallory"),
        played_runner(client, tmp_path / "r") as honest,
    ):
        keys, known = load_keys(tmp_path / "m" / KEYS / RUNNER_KEY), load_known(tmp_path / "m")
        with ExitStack() as stack:
            flooders = [stack.enter_context(hostile(keys, known, parts.address.port)) for _ in range(CONNECTIONS)]
            busy = asyncio.Event()
            flooding = asyncio.create_task(flood(flooders, busy))
            await busy.wait()
            await honest.hello()
            assert not any(isinstance(word, Busy) for word in honest.heard)
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
        names = {each["name"] for each in (await client.ask("runners", {})).body}
        assert names == {"mallory", "played"}
    assert told_of(caplog)[HELLOS] > 0


async def flood(flooders: list[zmq.Socket[Any]], busy: asyncio.Event) -> None:
    """Introduce the same runner on each of its connections, again and again; tell when it is sent away for it."""
    for seq in itertools.count(1):
        for flooder in flooders:
            await say(flooder, encode(hello(slots=0, seq=seq)))
            while flooder.poll(0):
                if any(isinstance(word, Busy) for word in decode_all(flooder.recv_multipart())):
                    busy.set()


@in_a_loop
async def test_a_wish_that_is_said_twice_at_once_is_answered_twice(tmp_path: Path) -> None:
    async with dispatching(tmp_path / "d"):
        access = find_access(tmp_path / "d", None)
        async with Connection(access.address, access.server_key, access.keys) as connection:
            await connected(connection)
            ask = Ask(id=1, what="token_create", about={"role": "runner"})
            assert connection.send(ask)
            assert connection.send(ask)
            answers: list[Answer] = []
            while len(answers) < 2:
                heard = await until(connection, lambda item: isinstance(item, Answer))
                answers += [item for item in heard if isinstance(item, Answer)]
            assert [(answer.id, answer.error) for answer in answers] == [(1, "")] * 2
