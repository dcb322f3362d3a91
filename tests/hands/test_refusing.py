"""A dispatcher without room: who is answered, who is refused, and when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from surveil.core.peers import Role
from surveil.errors import ExitCode
from surveil.hands import refusing
from surveil.hands.refusing import HELLO_MS, Refusing, full_sentence
from surveil.protocol import Answer, Ask, Busy, CommitSeen, Enrol, Hello, Message, Refused
from tests.answer.desk import Desk
from tests.net.stage import BEAT, HELLO, Stage, connected, serving, until

COMMIT = CommitSeen(
    mid="m", repo="/r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="", pipeline=None,
    pipeline_file="", problem="none",
)  # fmt: skip
WISH = Ask(id=2, what="token_create", about={"role": "runner"})


async def told(stage: Stage, role: Role, *words: Message) -> list[object]:
    """What a peer hears for its words, up to the first answer."""
    async with stage.connection(stage.enrol(role)) as peer:
        await connected(peer)
        for word in words:
            assert peer.send(word)
        return list(await until(peer, lambda item: isinstance(item, Answer | Busy | Refused)))


def test_whoever_asks_is_answered_and_whatever_would_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [False]
    monkeypatch.setattr(refusing, "has_room", lambda _: room[0])
    monkeypatch.setattr(refusing, "REST_MS", 0)
    sentence = full_sentence(tmp_path)
    refused = Refused(reason=sentence, exit_code=ExitCode.INFRASTRUCTURE)

    async def scene() -> None:
        async with serving() as stage:
            without_room = Refusing(stage.server, Desk().answers(), tmp_path)
            running = asyncio.create_task(without_room.run())
            (read,) = await told(stage, Role.CLIENT, Ask(id=1, what="builds", about={}))
            assert isinstance(read, Answer)
            assert (read.id, read.body, read.error) == (1, [], "")
            (wish,) = await told(stage, Role.CLIENT, WISH)
            assert isinstance(wish, Answer)
            assert (wish.id, wish.error, wish.exit_code) == (2, sentence, ExitCode.INFRASTRUCTURE)
            assert await told(stage, Role.OBSERVER, COMMIT) == [refused]
            assert await told(stage, Role.RUNNER, Enrol(secret=b"s", name="n")) == [refused]
            # A heartbeat gets no word: nobody could renew a lease.
            assert isinstance(HELLO, Hello)
            assert await told(stage, Role.RUNNER, BEAT, HELLO) == [Busy(retry_ms=HELLO_MS)]
            assert not running.done()
            room[0] = True
            await running

    asyncio.run(scene())
