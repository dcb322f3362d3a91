"""A store in memory, logs in memory and the answers over both: what these tests ask."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

from sqlalchemy import Connection, Engine, StaticPool, create_engine, insert

from surveil.answer import Reply, Wish
from surveil.answer.answers import Answers
from surveil.answer.auditing import ActsRead
from surveil.answer.kept_files import KeptFiles
from surveil.answer.live import Live
from surveil.core.kept import Artifact
from surveil.core.state import Identity, State
from surveil.protocol import Ask
from surveil.store.acts import Act
from surveil.store.blobs import FolderBlobs
from surveil.store.codec import BUILD_COLUMNS, build_row, split_job
from surveil.store.logs import LogStore
from surveil.store.shelf import Shelf
from surveil.store.tables import builds, metadata
from tests.store.memory import MemoryStore

Result = TypeVar("Result")
NOW = 1_750_000_000_000
NOWHERE = Path("/nonexistent")
"""For questions that need no log."""


def in_memory() -> Engine:
    """A database of its own."""
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


@cache
def tables() -> Engine:
    """All tables, empty: to copy them takes a tenth of what it takes to make them."""
    engine = in_memory()
    metadata.create_all(engine)
    return engine


def copied(made: Connection, mine: Connection) -> None:
    """Copy what is in one database in memory into another."""
    source, target = made.connection.driver_connection, mine.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)
    assert isinstance(target, sqlite3.Connection)
    source.backup(target)


class NoActs:
    """Nobody did anything."""

    def listed(self, **_wanted: object) -> list[Act]:
        return []


OPENED: Final[list[LogStore]] = []
"""The logs of all desks that nobody has let go of."""


class Desk:
    """Everything behind a dispatcher's answers, without a dispatcher."""

    def __init__(self, logs: Path = NOWHERE) -> None:
        self.store = MemoryStore()
        self.logs = LogStore(logs)
        OPENED.append(self.logs)
        self._engine = in_memory()
        with self._engine.connect() as mine, tables().connect() as made:
            copied(made, mine)
        self.shelf = Shelf(self._engine, self._engine.begin)
        self.kept = KeptFiles(self.shelf, FolderBlobs(logs))
        self.acts: ActsRead = NoActs()
        self.now = NOW
        self.live = Live(
            cluster="c1",
            epoch=3,
            started_at=NOW - 5000,
            state=State(identity=Identity(cluster="c1", epoch=3, bulk_port=1)),
            now=lambda: self.now,
        )

    def ask(self, what: str, **about: Any) -> Any:
        """The reply's body."""
        reply = self.reply(what, **about)
        assert isinstance(reply, Reply)
        return reply.body

    def reply(self, what: str, **about: Any) -> Reply | Wish:
        return asyncio.run(self._within(self.answers().answer(Ask(id=1, what=what, about=about))))

    def log(self, job: str, attempt: int, data: bytes) -> None:
        """Write more of a log."""
        at = self.logs.length(job, attempt)
        self.logs.append(job, attempt, at=at, crc=crc32(data), data=data, after_ms=0)
        self.logs.flush()

    def keep(self, artifact: Artifact) -> None:
        """Keep an artifact of a build that is in the store."""
        build = self.store.builds[split_job(artifact.job)[0]]
        row = dict(zip(BUILD_COLUMNS, build_row(build), strict=True))
        with self._engine.begin() as connection:
            connection.execute(insert(builds).prefix_with("OR IGNORE").values(row))
        self.shelf.keep(artifact)

    def answers(self) -> Answers:
        return Answers(self.store.reader, self.logs, self.live, kept=self.kept, acts=self.acts)

    async def _within(self, asked: Coroutine[Any, Any, Result]) -> Result:
        async with asyncio.timeout(30):
            return await asked
