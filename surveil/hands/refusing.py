"""What a dispatcher does while its disk is full: it answers whoever only asks, refuses the rest, and waits for room.

What belongs here: this time between two lives of the dispatcher's loop. What does not: noticing that the disk is full
(store), and starting again (dispatcher).

The mind is gone by now, because it was ahead of the disk. Nothing is acknowledged here, so all that is said is said
again: runners go on with what they run and keep their results, observers keep their commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from surveil.answer import Reply, Wish
from surveil.answer.answers import Answers
from surveil.errors import InfrastructureError
from surveil.hands.answering import Answering
from surveil.net.server import Server
from surveil.net.traffic import Received, Route
from surveil.protocol import Ask, Busy, CommitSeen, Enrol, Hello, Refused
from surveil.say import Voice
from surveil.tasks import Tasks

ROOM_BYTES: Final = 1024 * 1024
"""So much must be free before it is worth starting again: a batch of commits, and the database's own books."""
LOOK_MS: Final = 500
"""How often somebody looks whether there is room."""
REST_MS: Final = 2_000
"""So long it rests at least: a quota may say that the disk is full while the disk itself has room."""
HELLO_MS: Final = 5_000
"""How soon runners are to introduce themselves again; they are let in when there is room."""

voice = Voice("dispatcher")


def has_room(data: Path) -> bool:
    """Whether the disk of this folder has room for the database to go on."""
    disk = os.statvfs(data)
    return disk.f_bavail * disk.f_frsize >= ROOM_BYTES


def full_sentence(data: Path) -> str:
    """What everybody is told whose word would have to be written."""
    return (
        f"the dispatcher's disk is full, so it takes nothing new: make room on the disk of {data} on its machine; it "
        "goes on by itself then, and nothing that was acknowledged is lost"
    )


async def wait_for_room(data: Path, stopped: asyncio.Event) -> None:
    """Wait until there is room for a dispatcher that cannot even open its parts, or until it is `stopped`."""
    rest_s = REST_MS / 1000
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), rest_s)
        if has_room(data):
            return
        rest_s = LOOK_MS / 1000


class Refusing:
    """Serves the sockets of a dispatcher without its mind. `answers` reads what is on disk."""

    def __init__(self, server: Server, answers: Answers, data: Path) -> None:
        self._server = server
        self._answers = answers
        self._answering = Answering(answers, server, self._refuse)
        self._data = data
        self._tasks = Tasks(lambda _: self.stop())
        self._stopping = False

    async def run(self) -> None:
        """Refuse until there is room, or until `stop`."""
        voice.error(full_sentence(self._data))
        loop = asyncio.get_running_loop()
        rest_until = loop.time() + REST_MS / 1000
        while not self._stopping and (loop.time() < rest_until or not has_room(self._data)):
            batch = await self._server.receive(LOOK_MS)
            for received in batch.control:
                self._hear(received)
        self._answers.on_stop()
        await self._tasks.end()
        self._tasks.check()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping = True
        self._server.wake()

    def _hear(self, received: Received) -> None:
        match received.message:
            case Ask() as ask:
                self._tasks.start(self._answering.answer(received.peer.name, received.route, ask))
            case CommitSeen() | Enrol():
                sentence = full_sentence(self._data)
                self._server.reply(received.route, Refused(reason=sentence, exit_code=InfrastructureError.exit_code))
            case Hello():
                self._server.reply(received.route, Busy(retry_ms=HELLO_MS))
            case _:
                pass  # Whatever else is said is said again until it is answered.

    async def _refuse(self, _client: str, _route: Route, _ask: Ask, _wish: Wish) -> Reply:
        raise InfrastructureError(full_sentence(self._data))
