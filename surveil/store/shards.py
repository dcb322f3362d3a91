"""The lists that shards share, and what was handed out of them, as rows.

What belongs here: the columns, the rows, and the questions about these two tables. What does not: who gets what
(`core.shards`), and when something is written (`writing`).

Nothing is ever changed: a question of a shard is one row, with what it had done and what it was given. What is left of
a list, and how long its items took, follows from these rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, func, select

from surveil.core.shards import Asked
from surveil.protocol import ShardResult
from surveil.store import SHARED_BUILDS_MAX, Sharing
from surveil.store.codec import split_job
from surveil.store.sums import SUM, Guard, Row, summed
from surveil.store.tables import builds, shard_asks, shard_lists

LIST_COLUMNS: Final = tuple(shard_lists.c.keys())
ASK_COLUMNS: Final = tuple(shard_asks.c.keys())
LISTS: Final = Guard(shard_lists, "the list of suite {suite} in build {build}", LIST_COLUMNS[:-1])
ASKS: Final = Guard(shard_asks, "question {seq} of attempt {number} at job {build}/{name}", ASK_COLUMNS[:-1])
GUARDS: Final = (LISTS, ASKS)

assert (LIST_COLUMNS[-1], ASK_COLUMNS[-1]) == (SUM, SUM), "the sum stands behind what it vouches for"


def list_row(build: int, suite: str, digest: str, items: bytes) -> Row:
    """The row of a list; `items` are packed."""
    return summed((build, suite, digest, items))


def ask_row(asked: Asked, suite: str) -> Row:
    """The row of a question."""
    build, name = split_job(asked.job)
    done = json.dumps([[one.item, one.state, one.duration_ms] for one in asked.done], separators=(",", ":"))
    given = json.dumps(list(asked.given), separators=(",", ":"))
    return summed((build, suite, name, asked.attempt, asked.seq, done, given))


def sharing_of(connection: Connection, build: int, suite: str) -> Sharing | None:
    """A list and what was asked about it; None where nobody has brought it yet."""
    wanted = select(shard_lists).where(shard_lists.c.build == build, shard_lists.c.suite == suite)
    row = connection.execute(wanted).first()
    if row is None:
        return None
    LISTS.check(row)
    return Sharing(digest=row.digest, items=row.items, asked=tuple(_asks(connection, build, suite)))


def shared_before(
    connection: Connection, repo: str, suite: str, *, ref: str | None, before: int | None, limit: int
) -> list[Sharing]:
    """The lists and the questions of the newest builds of a repository that shared this suite, newest first."""
    end = connection.execute(select(func.max(builds.c.id))).scalar() or 0
    end = end + 1 if before is None else before
    wanted = (
        select(builds.c.id)
        .join(shard_lists, shard_lists.c.build == builds.c.id)
        .where(builds.c.repo == repo, builds.c.id < end, builds.c.id >= end - SHARED_BUILDS_MAX)
        .where(shard_lists.c.suite == suite)
        .order_by(builds.c.id.desc())
        .limit(limit)
    )
    if ref is not None:
        wanted = wanted.where(builds.c.ref == ref)
    found = [sharing_of(connection, build, suite) for (build,) in connection.execute(wanted).all()]
    return [sharing for sharing in found if sharing is not None]


def _asks(connection: Connection, build: int, suite: str) -> list[Asked]:
    wanted = select(shard_asks).where(shard_asks.c.build == build, shard_asks.c.suite == suite)
    order = (shard_asks.c.name, shard_asks.c.number, shard_asks.c.seq)
    return [_asked_of(row) for row in connection.execute(wanted.order_by(*order))]


def _asked_of(row: Any) -> Asked:
    ASKS.check(row)
    done = (ShardResult(item=item, state=state, duration_ms=ms) for item, state, ms in json.loads(row.done))
    return Asked(
        job=f"{row.build}/{row.name}", attempt=row.number, seq=row.seq, done=tuple(done),
        given=tuple(json.loads(row.given)),
    )  # fmt: skip


def known_ms(items: list[str], sharing: Sharing) -> Mapping[str, int]:
    """How long each item of an earlier list took, as its shards said."""
    return {items[one.item]: one.duration_ms for asked in sharing.asked for one in asked.done if one.item < len(items)}
